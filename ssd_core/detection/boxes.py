"""Box layouts, intersection over union, and boxes as offsets from anchors, in NumPy."""

import math

import numpy as np

from ssd_core.structures import FloatArray

MAX_LOG_SCALE = math.log(1000 / 16)
"""Limits a decoded side to 62.5 times the anchor's, as in torchvision and mmdetection, so that no
network returns infinite boxes."""


def to_xyxy(boxes_cxcywh: FloatArray) -> FloatArray:
    """Turn [..., 4] centre and size into corners, in the same unit."""
    half = boxes_cxcywh[..., 2:] / 2
    centre = boxes_cxcywh[..., :2]
    return np.concatenate([centre - half, centre + half], axis=-1)


def to_cxcywh(boxes: FloatArray) -> FloatArray:
    """Turn [..., 4] corners into centre and size, in the same unit."""
    low, high = boxes[..., :2], boxes[..., 2:]
    return np.concatenate([(low + high) / 2, high - low], axis=-1)


def compute_areas(boxes: FloatArray) -> FloatArray:
    """Return [...] areas of [..., 4] xyxy boxes, in the square of their unit."""
    sides = boxes[..., 2:] - boxes[..., :2]
    areas: FloatArray = sides[..., 0] * sides[..., 1]
    return areas


def compute_shared_areas(boxes: FloatArray, others: FloatArray) -> FloatArray:
    """Return [N, M] areas that [N, 4] and [M, 4] xyxy boxes share, in the square of their unit."""
    left, top, right, bottom = boxes.T[..., None]
    other_left, other_top, other_right, other_bottom = others.T
    width = np.minimum(right, other_right) - np.maximum(left, other_left)
    height = np.minimum(bottom, other_bottom) - np.maximum(top, other_top)
    shared: FloatArray = np.maximum(width, 0) * np.maximum(height, 0)
    return shared


def compute_iou(boxes: FloatArray, others: FloatArray) -> FloatArray:
    """Return [N, M] intersection over union of [N, 4] and [M, 4] xyxy boxes; empty ones give 0."""
    shared = compute_shared_areas(boxes, others)
    union = compute_areas(boxes)[:, None] + compute_areas(others)[None] - shared
    iou: FloatArray = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return iou


class BoxCoder:
    """Boxes as offsets from anchors (SSD paper, equation 2).

    (dx, dy) are in units of the anchor's size, (dw, dh) are logarithms of the scale. Both are
    divided by their variance; torchvision's weights (10, 10, 5, 5) are the inverses of the usual
    variances (0.1, 0.2).
    """

    def __init__(self, variances: tuple[float, float]) -> None:
        self._centre_variance, self._size_variance = map(np.float32, variances)

    def encode(self, boxes: FloatArray, anchors_cxcywh: FloatArray) -> FloatArray:
        """Return [N, 4] offsets of [N, 4] xyxy boxes with area; anchors [N, 4] in the same unit."""
        boxes_cxcywh = to_cxcywh(boxes)
        centre = (boxes_cxcywh[:, :2] - anchors_cxcywh[:, :2]) / anchors_cxcywh[:, 2:]
        size = np.log(boxes_cxcywh[:, 2:] / anchors_cxcywh[:, 2:])
        return np.concatenate([centre / self._centre_variance, size / self._size_variance], axis=1)

    def decode(self, offsets: FloatArray, anchors_cxcywh: FloatArray) -> FloatArray:
        """Return [..., N, 4] xyxy boxes in the unit of the [N, 4] anchors."""
        centre = offsets[..., :2] * self._centre_variance * anchors_cxcywh[:, 2:]
        scale = np.clip(offsets[..., 2:] * self._size_variance, None, np.float32(MAX_LOG_SCALE))
        size = np.exp(scale) * anchors_cxcywh[:, 2:]
        return to_xyxy(np.concatenate([anchors_cxcywh[:, :2] + centre, size], axis=-1))
