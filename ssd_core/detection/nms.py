"""Non-maximum suppression of all classes of an image at once, in NumPy.

Only few boxes overlap so much that one of them may fall. They are found by their left sides, for
all classes together; the rest of the work is proportional to their number.
"""

from collections.abc import Iterator

import numpy as np

from ssd_core.structures import BoolArray, FloatArray, IntArray

_PAIRS = 2**15
"""Compared at a time: they stay in the processor's cache."""

_ROUNDING = 1e-5
"""More than the relative error of an IoU in single precision."""


def suppress(boxes: FloatArray, classes: IntArray, iou_threshold: float) -> BoolArray:
    """Return which of N boxes survive; N may be 0.

    A box is dropped if its IoU with a better surviving one of its class exceeds the threshold.

    Args:
        boxes: [N, 4] xyxy; those of a class follow one another, best first.
        classes: [N] ascending, from 0.
        iou_threshold: largest IoU of two boxes that both survive.
    """
    better, worse = _find_overlaps(boxes, classes, iou_threshold)
    survives = np.ones(len(boxes), np.bool_)
    while True:
        # Each round is right for all boxes whose better ones were right before: at first the best.
        before, survives = survives, np.ones(len(boxes), np.bool_)
        survives[worse[before[better]]] = False
        if np.array_equal(before, survives):
            return survives


def _find_overlaps(
    boxes: FloatArray, classes: IntArray, iou_threshold: float
) -> tuple[IntArray, IntArray]:
    """Return the rows of all pairs of a class whose IoU exceeds the threshold, the better first."""
    order, counts = _count_neighbours(boxes, classes, iou_threshold)
    sides = boxes.T[:, order]
    left, top, right, bottom = sides
    areas, threshold = (right - left) * (bottom - top), np.float32(iou_threshold)
    found = [np.zeros((2, 0), np.int64)]
    for rows, repeats, others in _pair(counts):
        left_of, top_of, right_of, bottom_of = np.repeat(sides[:, rows], repeats, axis=1)
        width = np.minimum(right_of, right[others]) - np.maximum(left_of, left[others])
        height = np.minimum(bottom_of, bottom[others]) - np.maximum(top_of, top[others])
        shared = np.maximum(width, 0) * np.maximum(height, 0)
        union = np.repeat(areas[rows], repeats) + areas[others] - shared
        with np.errstate(divide="ignore", invalid="ignore"):  # empty boxes overlap with none
            overlap = np.flatnonzero(shared / union > threshold)
        found.append(order[np.stack([np.repeat(rows, repeats)[overlap], others[overlap]])])
    better, worse = np.sort(np.concatenate(found, axis=1), axis=0)
    return better, worse


def _count_neighbours(
    boxes: FloatArray, classes: IntArray, iou_threshold: float
) -> tuple[IntArray, IntArray]:
    """Order boxes by class and left side; return how many after each may overlap with it, too.

    Two boxes share less of the left one's width than the threshold if the other starts further to
    the right than the rest of that width; then their IoU is less, too.
    """
    left, _, right, _ = np.nan_to_num(boxes.T.astype(np.float64))
    start = left.min(initial=0)
    position = classes * (right.max(initial=0) - start + 1) + left - start
    order = np.argsort(position, kind="stable")
    reach = (right - left) * (1 - iou_threshold * (1 - _ROUNDING))
    ends = np.searchsorted(position[order], (position + reach)[order], side="right")
    return order, np.maximum(ends - np.arange(len(boxes)) - 1, 0)


def _pair(counts: IntArray) -> Iterator[tuple[IntArray, IntArray, IntArray]]:
    """Yield rows, how often each occurs, and their partners: for each row the `counts` after it."""
    splits = np.searchsorted(np.cumsum(counts), np.arange(_PAIRS, counts.sum(), _PAIRS))
    for rows in np.split(np.arange(len(counts)), splits):
        repeats = counts[rows]
        skipped = np.cumsum(repeats) - repeats - rows - 1
        yield rows, repeats, np.arange(repeats.sum()) - np.repeat(skipped, repeats)
