"""Box layouts and intersection over union."""

import numpy as np

from ssd_core.detection.boxes import compute_areas, compute_iou, to_cxcywh, to_xyxy


def test_layouts_are_inverse():
    boxes = np.array([[0.1, 0.2, 0.5, 0.4]], np.float32)
    np.testing.assert_allclose(to_cxcywh(boxes), [[0.3, 0.3, 0.4, 0.2]], rtol=1e-6)
    np.testing.assert_allclose(to_xyxy(to_cxcywh(boxes)), boxes, rtol=1e-6)


def test_iou_of_equal_apart_touching_and_half_covered_boxes():
    box = np.array([[0, 0, 2, 2]], np.float32)
    others = np.array([[0, 0, 2, 2], [3, 3, 4, 4], [2, 0, 4, 2], [1, 0, 2, 2], [1, 1, 3, 3]])
    np.testing.assert_allclose(
        compute_iou(box, others.astype(np.float32)), [[1, 0, 0, 0.5, 1 / 7]], rtol=1e-6
    )


def test_empty_boxes_overlap_nothing():
    point = np.array([[1, 1, 1, 1]], np.float32)
    assert compute_areas(point) == [0]
    assert compute_iou(point, point) == [[0]]
    assert compute_iou(point[:0], point).shape == (0, 1)
