"""The best anchor of an object, found without comparing all."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssd_core.config import AnchorSpec
from ssd_core.detection.anchors import generate_anchors
from ssd_core.detection.boxes import compute_iou, to_xyxy
from ssd_core.detection.reach import find_best_anchors
from ssd_core.recipes import RECIPES, load_recipe

TWO_LEVELS = AnchorSpec(
    strides=(50, 100), min_sizes=(20, 60), max_sizes=(45, 100), ratios=((), (4,))
)
"""On 100 px: 2 x 2 cells of squares of 20 and 30, one cell of 60, 77.5, 120 x 30 and 30 x 120."""

unit = st.floats(0, 1, width=32)
boxes_in_image = st.lists(st.tuples(unit, unit, unit, unit), min_size=1, max_size=20).map(
    lambda rows: np.array(
        [(min(a, c), min(b, d), max(a, c), max(b, d)) for a, b, c, d in rows], np.float32
    )
)


def test_iou_and_level_of_the_best_anchor():
    boxes = np.array(
        [
            [0.15, 0.15, 0.35, 0.35],  # the square of 20 in the first cell
            [0.20, 0.20, 0.80, 0.80],  # the square of 60
            [0.65, 0.15, 0.85, 0.25],  # half of the square of 20 in the second cell
            [0.50, 0.50, 0.50, 0.50],  # no area
        ],
        np.float32,
    )
    iou, level = find_best_anchors(boxes, TWO_LEVELS, 100)
    assert iou == pytest.approx([1, 1, 0.5, 0])
    assert level.tolist()[:3] == [0, 1, 0]


def test_no_objects():
    iou, level = find_best_anchors(np.zeros((0, 4), np.float32), TWO_LEVELS, 100)
    assert iou.shape == level.shape == (0,)


@pytest.mark.parametrize("recipe", RECIPES)
@given(boxes=boxes_in_image)
def test_no_anchor_overlaps_more(recipe, boxes):
    model = load_recipe(recipe).train.model
    anchors = to_xyxy(generate_anchors(model.anchors, model.image_size))
    iou, _ = find_best_anchors(boxes, model.anchors, model.image_size)
    np.testing.assert_allclose(iou, compute_iou(boxes, anchors).max(axis=1), atol=2e-6)
