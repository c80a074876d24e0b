"""Which detections are right at each IoU threshold of COCO."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ssd_core.evaluation.coco import IOUS, CocoArrays, match_cells
from ssd_core.structures import Array, BoolArray, ClassInfo, IntArray

_MAX_DETECTIONS = 100
"""Per image and class; COCO leaves out those with lower scores."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IouMatches:
    """D detections and G objects without crowds; images are numbered from 0, classes from 1.

    Detections are in the order of their classes, and of decreasing scores within each.
    """

    num_images: int
    num_classes: int
    images: IntArray
    """[D]."""
    labels: IntArray
    """[D]."""
    is_right: BoolArray
    """[10, D] whether the detection has found an object, by the thresholds of IOUS."""
    is_ignored: BoolArray
    """[10, D] whether it is on a crowd, neither right nor wrong."""
    object_images: IntArray
    """[G]."""
    object_labels: IntArray
    """[G]."""


def match_at_ious(arrays: CocoArrays, classes: Sequence[ClassInfo]) -> IouMatches:
    """Match detections and objects as COCO does.

    The evaluator takes only detections beside objects of their class, because its matches are slow
    to read: all others are wrong.

    Raises:
        DataError: a box or a score is not finite.
    """
    detections = arrays.detections[_rank(arrays.detections)]
    images, labels = detections[:, 0].astype(np.int64), detections[:, 6].astype(np.int64)
    beside = np.flatnonzero(
        np.isin(_cells(images, labels), np.unique(_cells(arrays.images, arrays.labels)))
    )
    is_matched = np.zeros((len(IOUS), len(detections)), np.bool_)
    is_ignored = np.zeros_like(is_matched)
    for cell in match_cells(replace(arrays, detections=detections[beside]), classes):
        rows = beside[np.array(cell["dtIds"], np.int64) - 1]
        is_matched[:, rows], is_ignored[:, rows] = cell["dtMatched"], cell["dtIgnore"]
    is_object = ~arrays.is_crowd
    return IouMatches(
        num_images=arrays.num_images,
        num_classes=len(classes),
        images=images - 1,
        labels=labels,
        is_right=is_matched & ~is_ignored,
        is_ignored=is_ignored,
        object_images=arrays.images[is_object] - 1,
        object_labels=arrays.labels[is_object],
    )


def _rank(detections: Array) -> IntArray:
    """Return the rows that count, by class and score; equal scores keep their order."""
    scores, cells = -detections[:, 5], _cells(detections[:, 0], detections[:, 6])
    order = np.lexsort((scores, cells))
    _, starts, counts = np.unique(cells[order], return_index=True, return_counts=True)
    ranks = np.arange(len(order)) - np.repeat(starts, counts)
    rows = np.sort(order[ranks < _MAX_DETECTIONS])
    ranked: IntArray = rows[np.lexsort((scores[rows], detections[rows, 6]))]
    return ranked


def _cells(images: Array, labels: Array) -> IntArray:
    """Return a number for each pair of an image and a class."""
    return images.astype(np.int64) << 32 | labels.astype(np.int64)
