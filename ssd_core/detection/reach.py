"""How well the anchors reach given objects, without comparing every object with every anchor."""

import numpy as np

from ssd_core.config import AnchorSpec
from ssd_core.detection.anchors import feature_sizes, generate_anchors
from ssd_core.structures import FloatArray, IntArray


def find_best_anchors(
    boxes: FloatArray, spec: AnchorSpec, image_size: int
) -> tuple[FloatArray, IntArray]:
    """Return for each object [N] the IoU of its best anchor and the level of that anchor.

    Of the anchors of one shape, the one whose centre is nearest to the object's overlaps it most,
    because the shared area shrinks with the distance in x and in y. So only the anchors of one
    cell a level are compared: 30 instead of 8,732 for SSD300. The first of equal levels wins.

    Args:
        boxes: [N, 4] xyxy in [0, 1]; N may be 0.
        spec: the anchors.
        image_size: side of the square network input in pixels.
    """
    anchors = generate_anchors(spec, image_size)
    corners = np.ascontiguousarray(boxes.T)
    centres = (corners[:2] + corners[2:]) / 2 * np.float32(image_size)
    best = np.zeros((len(spec.strides), len(boxes)), np.float32)
    start = 0
    levels = zip(feature_sizes(spec, image_size), spec.strides, spec.boxes_per_cell, strict=True)
    for level, (cells, stride, per_cell) in enumerate(levels):
        column, row = np.clip(centres // stride, 0, cells - 1).astype(np.int64)
        nearest = anchors[start + (row * cells + column) * per_cell, :2].T.copy()
        for shape in anchors[start : start + per_cell, 2:]:
            np.maximum(best[level], _iou_around(nearest, shape, corners), out=best[level])
        start += cells * cells * per_cell
    level_of_best: IntArray = best.argmax(axis=0)
    iou: FloatArray = best.max(axis=0)
    return iou, level_of_best


def _iou_around(centres: FloatArray, shape: FloatArray, corners: FloatArray) -> FloatArray:
    """Return [N] IoU of boxes of one shape [2] around [2, N] centres with [4, N] xyxy boxes."""
    half = shape[:, None] / 2
    sides = np.minimum(corners[2:], centres + half) - np.maximum(corners[:2], centres - half)
    shared = np.maximum(sides, 0).prod(axis=0)
    areas = (corners[2:] - corners[:2]).prod(axis=0)
    iou: FloatArray = shared / (areas + shape.prod() - shared)  # an anchor is never empty
    return iou
