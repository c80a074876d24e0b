"""The anchors of an SSD (the paper's default boxes, section 2.2), and how well they fit objects."""

import math
from collections.abc import Sequence

import numpy as np

from ssd_core.config import AnchorLevel
from ssd_core.structures import Array, FloatArray, IntArray

_ROUNDING = 1e-6
"""Cells by which image size / stride may exceed a whole number: 300 / (300 / 19) is to be 19."""


def feature_sizes(levels: Sequence[AnchorLevel], image_size: int) -> tuple[int, ...]:
    """Return the side of each level's square feature map: image size over stride, rounded up.

    Layers that halve their input round up, hence so do all levels; the strides 100 and 300 of
    SSD300 stand for its last two convolutions, which do not pad, and give 3 cells and 1 that way.
    """
    return tuple(math.ceil(image_size / level.stride - _ROUNDING) for level in levels)


def generate_anchors(levels: Sequence[AnchorLevel], image_size: int) -> FloatArray:
    """Return all anchors as [A, 4] cxcywh in units of the image side, which is given in pixels.

    The order is level, row, column, shape. Anchors may reach beyond the image.
    """
    grids = [
        _level_anchors(level, cells)
        for level, cells in zip(levels, feature_sizes(levels, image_size), strict=True)
    ]
    return (np.concatenate(grids) / image_size).astype(np.float32)


def _level_anchors(level: AnchorLevel, cells: int) -> Array:
    """Return [cells * cells * shapes, 4] cxcywh in pixels."""
    centres = (np.arange(cells) + 0.5) * level.stride
    anchors = np.empty((cells, cells, len(level.shapes), 4))
    anchors[..., 0] = centres[None, :, None]
    anchors[..., 1] = centres[:, None, None]
    anchors[..., 2:] = level.shapes
    return anchors.reshape(-1, 4)


def find_best_anchors(
    boxes: FloatArray, levels: Sequence[AnchorLevel], image_size: int
) -> tuple[FloatArray, IntArray]:
    """Return [N] IoU of the best anchor of [N, 4] xyxy boxes in [0, 1], and [N] its level.

    Of the anchors of one shape, the one whose centre is nearest to the object's overlaps it most,
    because the shared area shrinks with the distance in x and in y. So only the anchors of one
    cell per level are compared: 30 instead of 8,732 for SSD300. The first of equal levels wins.
    """
    anchors = generate_anchors(levels, image_size)
    corners = np.ascontiguousarray(boxes.T)
    centres = (corners[:2] + corners[2:]) / 2 * np.float32(image_size)
    best = np.zeros((len(levels), len(boxes)), np.float32)
    start = 0
    for index, (level, cells) in enumerate(
        zip(levels, feature_sizes(levels, image_size), strict=True)
    ):
        per_cell = len(level.shapes)
        column, row = np.clip(centres // level.stride, 0, cells - 1).astype(np.int64)
        nearest = anchors[start + (row * cells + column) * per_cell, :2].T.copy()
        for shape in anchors[start : start + per_cell, 2:]:
            np.maximum(best[index], _iou_around(nearest, shape, corners), out=best[index])
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
