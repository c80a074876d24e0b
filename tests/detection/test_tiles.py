"""Windows of large images, and the detections of all of them as one set."""

import numpy as np
import pytest

from ssd_core.config import PostprocessSpec
from ssd_core.detection.tiles import list_windows, merge_windows
from tests.detections import make_detections


@pytest.mark.parametrize("overlap", [0, 0.2, 0.5])
@pytest.mark.parametrize("size", [(641, 30), (2000, 1499), (640, 5000)])
def test_tiles_cover_the_image_and_overlap(size, overlap):
    whole, *tiles = list_windows(size, 640, overlap)
    assert whole == (0, 0, *size)
    covered = np.zeros(size[::-1], np.bool_)
    for x0, y0, x1, y1 in tiles:
        assert (x1 - x0, y1 - y0) == tuple(np.minimum(size, 640))
        assert min(x0, y0) >= 0
        covered[y0:y1, x0:x1] = True
    assert covered.all()
    for axis in (0, 1):
        starts = sorted({tile[axis] for tile in tiles})
        assert (np.diff(starts) <= 640 * (1 - overlap) + 1).all()


@pytest.mark.parametrize("tile", [None, 640])
def test_an_image_that_fits_in_a_tile_stays_whole(tile):
    assert list_windows((640, 480), tile, 0.2) == [(0, 0, 640, 480)]


SPEC = PostprocessSpec(score_threshold=0.1, nms_iou_threshold=0.45)
WINDOWS = [(0, 0, 200, 100), (0, 0, 100, 100), (80, 0, 180, 100)]


def merged(*found, spec=SPEC):
    """Merge the (box, score, label) of each window."""
    parts = [make_detections(*(zip(*each, strict=True) if each else ((),) * 3)) for each in found]
    merged = merge_windows(parts, WINDOWS, spec)
    columns = merged.boxes.tolist(), merged.scores.astype(float).round(2), merged.labels
    return list(zip(*columns, strict=True))


def test_boxes_move_to_the_image_and_the_best_of_an_object_stays():
    found = merged(
        [([10, 10, 30, 30], 0.5, 1)],
        [([11, 10, 31, 30], 0.8, 1)],
        [([40, 20, 60, 50], 0.6, 1), ([41, 20, 61, 50], 0.4, 2)],
    )
    assert found == [
        ([11, 10, 31, 30], 0.8, 1),
        ([120, 20, 140, 50], 0.6, 1),
        ([121, 20, 141, 50], 0.4, 2),
    ]


def test_what_a_tile_cuts_off_is_dropped_where_the_object_is_whole():
    whole, cut = ([5, 10, 45, 50], 0.6, 1), ([85, 10, 99, 50], 0.9, 1)
    assert merged([], [cut], [whole]) == [([85, 10, 125, 50], 0.6, 1)]
    assert merged([], [cut], []) == [([85, 10, 99, 50], 0.9, 1)]
    assert len(merged([], [(*cut[:2], 2)], [whole])) == 2  # of another class


@pytest.mark.parametrize(
    ("limits", "scores"),
    [
        ({}, [0.9, 0.8, 0.7, 0.6]),
        ({"max_detections_per_image": 2}, [0.9, 0.8]),
        ({"max_detections_per_class": 1}, [0.9, 0.6]),
        ({"plus_one_areas": True}, [0.9, 0.7, 0.6]),
    ],
)
def test_the_post_processing_of_the_model_applies_to_all_tiles_together(limits, scores):
    left = [([10, 10, 14, 14], 0.9, 1), ([40, 10, 44, 14], 0.7, 1)]
    right = [([32, 12, 36, 16], 0.6, 2)]
    whole = [([10, 12, 14, 15], 0.8, 1)]  # IoU with the first: 8 / 20, and 15 / 30 a pixel larger
    found = merged(whole, left, right, spec=SPEC.model_copy(update=limits))
    assert [score for _, score, _ in found] == scores
