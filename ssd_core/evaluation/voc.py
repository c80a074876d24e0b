"""VOC's average precision at IoU .5, by the rules of 2007 and of 2010 to 2012."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ssd_core.detection.boxes import compute_iou
from ssd_core.structures import Annotations, Array, BoolArray, ClassInfo, Detections, FloatArray

VOC_METRICS = ("voc_ap_07", "voc_ap_12")

_MIN_IOU = 0.5
_RECALLS_07 = np.arange(11) / 10  # the quotients that a recall of 3 in 10 is equal to


class _Ranked(NamedTuple):
    """Detections of one class that count."""

    scores: FloatArray
    is_right: BoolArray


def evaluate_voc(
    truths: Sequence[Annotations], found: Sequence[Detections], classes: Sequence[ClassInfo]
) -> list[dict[str, float | None]]:
    """Return the values of VOC_METRICS per class, in the order of `classes`.

    A value is None without objects that are not difficult. Every detection goes to the object that
    it overlaps most; it is right if their IoU is at least .5 and no better one went there. Those on
    difficult objects and on crowds do not count. Boxes end at the edge of their last pixel, so
    sides have no additional pixel. `voc_ap_07` is the mean of the best precision at 11 recalls,
    `voc_ap_12` the area below the best precision (Everingham et al. 2010, section 4.2).
    """
    return [_average_precisions(truths, found, info.label) for info in classes]


def _average_precisions(
    truths: Sequence[Annotations], found: Sequence[Detections], label: int
) -> dict[str, float | None]:
    images = [
        _rank(truth.select(truth.labels == label), each.boxes[rows], each.scores[rows])
        for truth, each in zip(truths, found, strict=True)
        for rows in [each.labels == label]
    ]
    num_objects = sum(
        int(((truth.labels == label) & ~_is_ignored(truth)).sum()) for truth in truths
    )
    if not num_objects:
        return dict.fromkeys(VOC_METRICS)
    order = np.argsort(-np.concatenate([image.scores for image in images]), kind="stable")
    hits = np.cumsum(np.concatenate([image.is_right for image in images])[order])
    recall = np.concatenate([[0.0], hits / num_objects])
    precision = np.concatenate([[0.0], hits / np.arange(1, len(hits) + 1)])
    best = np.maximum.accumulate(precision[::-1])[::-1]  # precision at this recall or a higher one
    reached = np.searchsorted(recall, _RECALLS_07)
    return {
        "voc_ap_07": float(np.append(best, 0.0)[reached].mean()),
        "voc_ap_12": float(np.diff(recall) @ best[1:]),
    }


def _rank(objects: Annotations, boxes: FloatArray, scores: FloatArray) -> _Ranked:
    """Match the detections of one class in one image, best score first."""
    if not len(objects):
        return _Ranked(scores, np.zeros(len(scores), np.bool_))
    overlaps = compute_iou(boxes, objects.boxes)
    owners = np.where(overlaps.max(axis=1) >= _MIN_IOU, overlaps.argmax(axis=1), len(objects))
    is_first = np.zeros(len(scores), np.bool_)
    is_first[np.unique(owners, return_index=True)[1]] = True
    is_counted = ~np.append(_is_ignored(objects), False)[owners]
    is_right = is_first & (owners < len(objects))
    return _Ranked(scores[is_counted], is_right[is_counted])


def _is_ignored(objects: Annotations) -> Array:
    return objects.is_difficult | objects.is_crowd
