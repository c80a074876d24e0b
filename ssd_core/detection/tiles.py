"""Large images in square tiles that overlap, and one set of detections from all of them."""

import math
from collections.abc import Sequence

import numpy as np

from ssd_core.config import PostprocessSpec
from ssd_core.detection.boxes import compute_areas, compute_shared_areas
from ssd_core.detection.nms import suppress
from ssd_core.detection.postprocess import ONE_PIXEL, limit_detections
from ssd_core.structures import BoolArray, Detections, FloatArray

Window = tuple[int, int, int, int]
"""x0, y0, x1, y1 in pixels of the image, the last two exclusive."""

_CUT = 2.0
"""Pixels between a box and an inner edge of its tile up to which the object counts as cut."""
_COVERED = 0.5
"""Share of a cut box within a box of the same class from which it counts as a part of it."""


def list_windows(size: tuple[int, int], tile: int | None, overlap: float) -> list[Window]:
    """Return the whole image and, if it is larger than a tile, tiles that cover it evenly.

    Args:
        size: width and height of the image in pixels.
        tile: side of a tile in pixels; None for the whole image alone.
        overlap: least fraction of a tile that its neighbour shares, in [0, 0.5].
    """
    whole = [(0, 0, *size)]
    if tile is None or max(size) <= tile:
        return whole
    columns, rows = (_spans(length, tile, overlap) for length in size)
    return whole + [(x0, y0, x1, y1) for y0, y1 in rows for x0, x1 in columns]


def _spans(length: int, tile: int, overlap: float) -> list[tuple[int, int]]:
    if length <= tile:
        return [(0, length)]
    step = max(1, math.floor(tile * (1 - overlap)))
    starts = np.linspace(0, length - tile, math.ceil((length - tile) / step) + 1)
    return [(start, start + tile) for start in starts.round().astype(int).tolist()]


def merge_windows(
    found: Sequence[Detections], windows: Sequence[Window], spec: PostprocessSpec
) -> Detections:
    """Join the detections of the windows of one image, best first.

    A better box of its class drops another one as NMS does, and also one that a tile cuts off and
    that lies mostly within it: the object is whole in a neighbour or in the image.

    Args:
        found: of each window, in pixels of the window.
        windows: the whole image first, as `list_windows` returns them.
        spec: NMS and the limits, as for the detections of one window.
    """
    if len(windows) == 1:
        return found[0]
    shifted = [
        each.boxes + np.array(window[:2] * 2, np.float32)
        for each, window in zip(found, windows, strict=True)
    ]
    cut = [
        _is_cut(boxes, window, windows[0]) for boxes, window in zip(shifted, windows, strict=True)
    ]
    boxes, is_cut = np.concatenate(shifted), np.concatenate(cut)
    scores = np.concatenate([each.scores for each in found])
    labels = np.concatenate([each.labels for each in found])
    order = np.lexsort((-scores, labels))
    compared = boxes[order] + ONE_PIXEL if spec.plus_one_areas else boxes[order]
    kept = order[suppress(compared, labels[order], spec.nms_iou_threshold)]
    kept = kept[~_is_part(boxes[kept], labels[kept], is_cut[kept])]
    kept = limit_detections(kept, scores, labels, spec)
    return Detections(boxes=boxes[kept], scores=scores[kept], labels=labels[kept])


def _is_cut(boxes: FloatArray, window: Window, whole: Window) -> BoolArray:
    """Return which of [N, 4] boxes touch an edge of their window inside of the image."""
    is_inner = np.array(window) != np.array(whole)
    touches = np.abs(boxes - np.array(window)) <= _CUT
    cut: BoolArray = (touches & is_inner).any(axis=1)
    return cut


def _is_part(boxes: FloatArray, labels: FloatArray, is_cut: BoolArray) -> BoolArray:
    """Return which cut boxes lie mostly within a box of their class that is not cut."""
    parts, wholes = np.flatnonzero(is_cut), np.flatnonzero(~is_cut)
    shared = compute_shared_areas(boxes[parts], boxes[wholes])
    shared[labels[parts][:, None] != labels[wholes]] = 0
    is_covered = shared > _COVERED * compute_areas(boxes[parts])[:, None]
    result = np.zeros(len(boxes), np.bool_)
    result[parts] = is_covered.any(axis=1)
    return result
