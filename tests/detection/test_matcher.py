"""Matching of a few anchors that can be checked by eye."""

import numpy as np
import pytest

from ssd_core.config import MatchingSpec
from ssd_core.detection.matcher import match_anchors

ANCHORS = np.array([[0, 0, 0.5, 0.5], [0.5, 0, 1, 0.5], [0, 0.5, 0.5, 1], [0, 0, 1, 1]], np.float32)


def match(boxes, labels, **spec):
    return match_anchors(
        ANCHORS,
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(labels, np.int64),
        MatchingSpec(**spec),
    ).tolist()


def test_an_anchor_takes_the_object_it_overlaps_enough():
    assert match([[0, 0, 0.5, 0.4], [0, 0, 1, 0.9]], [1, 2]) == [0, -1, -1, 1]


def test_an_overlap_equal_to_the_threshold_suffices_where_it_is_inclusive():
    half = [[0, 0, 1, 0.5]]  # IoU 0.5 with anchors 0, 1 and 3; 0 is the forced one in any case
    assert match(half, [1]) == [0, 0, -1, 0]
    assert match(half, [1], inclusive=False) == [0, -1, -1, -1]
    assert match(half, [1], iou_threshold=0.51) == [0, -1, -1, -1]


def test_every_object_keeps_its_best_anchor_below_the_threshold():
    assert match([[0.6, 0.1, 0.7, 0.2]], [1]) == [-1, 0, -1, -1]


@pytest.mark.parametrize(("contested_anchor", "winner"), [("last", 1), ("first", 0)])
def test_of_two_objects_with_the_same_best_anchor_one_gets_it(contested_anchor, winner):
    boxes = [[0.1, 0.1, 0.2, 0.2], [0, 0, 0.05, 0.05]]
    for order in (boxes, boxes[::-1]):
        found = match(order, [1, 1], contested_anchor=contested_anchor)
        assert found == [winner, -1, -1, -1]


def test_a_forced_object_takes_the_anchor_from_a_better_one():
    perfect, tiny = [0, 0, 0.5, 0.5], [0.2, 0.2, 0.3, 0.3]
    assert match([perfect, tiny], [1, 1])[0] == 1
    assert match([tiny, perfect], [1, 1])[0] == 1


def test_of_equal_objects_the_anchor_takes_the_first_and_the_last_is_forced():
    same = [0, 0, 1, 0.5]  # anchors 0, 1 and 3 reach the threshold, anchor 0 is the first best
    assert match([same, same], [1, 2]) == [1, 0, -1, 0]


def test_padding_matches_nothing_whatever_its_box():
    assert match([[0, 0, 0.5, 0.5], [0.5, 0, 1, 0.5]], [0, 3]) == [-1, 1, -1, -1]
    assert match([[0, 0, 0.5, 0.5]], [0]) == [-1] * 4
    assert match([], []) == [-1] * 4


def test_a_box_without_area_matches_nothing():
    assert match([[0.3, 0.3, 0.3, 0.3]], [1]) == [-1] * 4
