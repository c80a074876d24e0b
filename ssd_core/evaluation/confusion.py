"""The confusion matrix of a detector."""

from collections.abc import Iterable

import numpy as np

from ssd_core.config import SCORE_THRESHOLD
from ssd_core.detection.boxes import compute_iou
from ssd_core.structures import Annotations, BoolArray, Detections, IntArray

MIN_SCORE = SCORE_THRESHOLD
MIN_IOU = 0.5


def confusion_matrix(
    images: Iterable[tuple[Annotations, Detections]], num_classes: int
) -> IntArray:
    """Return [K + 1, K + 1] counts of detections by true class (row) and found class (column).

    The last row and column are background: the column counts missed objects, the row detections
    without an object. In order of their scores, each detection matches the free object that it
    overlaps most, whatever its class, if their IoU is at least MIN_IOU. Detections below MIN_SCORE
    and unmatched ones on a crowd are ignored.
    """
    matrix = np.zeros((num_classes + 1, num_classes + 1), np.int64)
    for truth, found in images:
        _count(matrix, truth, found)
    return matrix


def _count(matrix: IntArray, truth: Annotations, found: Detections) -> None:
    objects, crowds = truth.select(~truth.is_crowd), truth.select(truth.is_crowd)
    background = len(matrix) - 1
    is_sure = found.scores >= MIN_SCORE
    boxes, classes = found.boxes[is_sure], found.labels[is_sure] - 1
    overlaps = compute_iou(boxes, objects.boxes)
    is_on_crowd: BoolArray = np.any(compute_iou(boxes, crowds.boxes) >= MIN_IOU, axis=1)
    is_free: BoolArray = np.ones(len(objects), np.bool_)
    for row, found_class in enumerate(classes):
        candidates = np.where(is_free, overlaps[row], -1)
        best = int(candidates.argmax()) if len(objects) else -1
        if best >= 0 and candidates[best] >= MIN_IOU:
            matrix[objects.labels[best] - 1, found_class] += 1
            is_free[best] = False
        elif not is_on_crowd[row]:
            matrix[background, found_class] += 1
    np.add.at(matrix[:, background], objects.labels[is_free] - 1, 1)
