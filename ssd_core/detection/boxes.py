"""Box layouts and intersection over union, in NumPy."""

import numpy as np

from ssd_core.structures import FloatArray


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


def compute_iou(boxes: FloatArray, others: FloatArray) -> FloatArray:
    """Return [N, M] intersection over union of [N, 4] and [M, 4] xyxy boxes; empty ones give 0."""
    left, top, right, bottom = boxes.T[..., None]
    other_left, other_top, other_right, other_bottom = others.T
    width = np.minimum(right, other_right) - np.maximum(left, other_left)
    height = np.minimum(bottom, other_bottom) - np.maximum(top, other_top)
    shared = np.maximum(width, 0) * np.maximum(height, 0)
    union = compute_areas(boxes)[:, None] + compute_areas(others)[None] - shared
    iou: FloatArray = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return iou
