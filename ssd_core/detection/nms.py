"""Greedy non-maximum suppression."""

import numpy as np

from ssd_core.detection.boxes import compute_iou
from ssd_core.structures import FloatArray, IntArray


def suppress(boxes: FloatArray, iou_threshold: float) -> IntArray:
    """Return the rows that survive: those that no better surviving box overlaps too much.

    Args:
        boxes: [N, 4] xyxy, best first; N may be 0.
        iou_threshold: a box goes when its IoU with a better one is greater than this.
    """
    is_apart = compute_iou(boxes, boxes) <= np.float32(iou_threshold)
    survives = np.ones(len(boxes), np.bool_)
    for row in range(len(boxes)):
        if survives[row]:
            survives[row + 1 :] &= is_apart[row, row + 1 :]
    return np.flatnonzero(survives)
