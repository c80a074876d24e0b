"""Box layouts, intersection over union, and boxes as offsets from anchors."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ssd_core.detection.boxes import BoxCoder, compute_areas, compute_iou, to_cxcywh, to_xyxy

CODER = BoxCoder((0.1, 0.2))
ANCHOR = np.array([[0.5, 0.5, 0.2, 0.4]], np.float32)


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


def test_offsets_by_hand():
    # The anchor itself; then centre .6, .9, twice as tall.
    boxes = np.array([[0.4, 0.3, 0.6, 0.7], [0.5, 0.5, 0.7, 1.3]], np.float32)
    expected = [[0, 0, 0, 0], [0.1 / 0.2 / 0.1, 0.4 / 0.4 / 0.1, 0, math.log(2) / 0.2]]
    np.testing.assert_allclose(CODER.encode(boxes, ANCHOR), expected, atol=1e-5)


def test_decoded_sizes_are_limited():
    huge = CODER.decode(np.array([[0, 0, 1e9, 0]], np.float32), ANCHOR)
    np.testing.assert_allclose(huge[0, 2] - huge[0, 0], 0.2 * 1000 / 16, rtol=1e-5)


SIDE = st.floats(1 / 1024, 1, width=32)


@given(st.tuples(SIDE, SIDE, SIDE, SIDE), st.tuples(SIDE, SIDE, SIDE, SIDE))
def test_decode_is_the_inverse_of_encode(box, anchor):
    x, y, width, height = box
    boxes = np.array([[x, y, x + width, y + height]], np.float32)
    width, height = (boxes[:, 2:] - boxes[:, :2])[0]
    anchors = np.array([anchor], np.float32)
    anchors[0, 2:] = np.maximum(anchors[0, 2:], [width / 50, height / 50])
    decoded = CODER.decode(CODER.encode(boxes, anchors), anchors)
    np.testing.assert_allclose(decoded, boxes, atol=1e-5)
