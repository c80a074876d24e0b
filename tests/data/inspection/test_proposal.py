"""Anchors proposed for the objects of a data set."""

import numpy as np
import pytest

from ssd_core.config import MatchingSpec
from ssd_core.data.inspection.proposal import propose_anchors
from ssd_core.detection.anchors import find_best_anchors
from ssd_core.recipes import load_recipe

MODEL = load_recipe("demo").train.model


def squares(side, count=300):
    """Return [N, 4] boxes of about this side in [0, 1], anywhere in the image."""
    rng = np.random.default_rng(0)
    centres = rng.uniform(0.1, 0.9, (count, 2))
    half = side * rng.uniform(0.8, 1.2, (count, 2)) / 2
    return np.hstack([centres - half, centres + half]).astype(np.float32)


@pytest.mark.parametrize("count", [30, 300])
def test_small_objects_come_within_reach(count):
    boxes = squares(0.03, count)
    proposed = propose_anchors(boxes, MODEL, MatchingSpec())
    assert [len(level.shapes) for level in proposed] == [len(each.shapes) for each in MODEL.anchors]
    own, other = (
        (find_best_anchors(boxes, levels, MODEL.image_size)[0] >= 0.5).sum()
        for levels in (MODEL.anchors, proposed)
    )
    assert other > own


def test_anchors_that_reach_everything_stay():
    assert propose_anchors(squares(0.5), MODEL, MatchingSpec()) is None
    assert propose_anchors(np.zeros((0, 4), np.float32), MODEL, MatchingSpec()) is None


def test_anchors_with_a_repeated_shape_are_not_proposed():
    boxes = squares(0.03, 10)  # fewer than shapes
    assert propose_anchors(boxes, MODEL, MatchingSpec()) is None
