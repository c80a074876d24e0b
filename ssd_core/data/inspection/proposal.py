"""Anchors that fit the objects of a data set better than those of a recipe."""

import json
import math
from collections.abc import Sequence

import numpy as np

from ssd_core.config import AnchorLevel, MatchingSpec, ModelConfig
from ssd_core.detection.anchors import find_best_anchors
from ssd_core.detection.matcher import reaches_threshold
from ssd_core.structures import Array, FloatArray, IntArray

_MAX_OBJECTS = 20_000
"""Objects that are clustered: every n-th of more."""
_MAX_ROUNDS = 50
_MIN_SIDE = 1.0
"""Pixels of the network input."""


def propose_anchors(
    boxes: FloatArray, model: ModelConfig, matching: MatchingSpec
) -> tuple[AnchorLevel, ...] | None:
    """Return anchors that reach more objects than those of the model, or None if none were found.

    They have the same levels with the same number of shapes each. The shapes are the centres of
    k-means on the IoU of objects around one centre (Redmon and Farhadi 2017, section 2), from two
    starts: the shapes of the model, and objects of evenly spaced ranks by area. The smallest shapes
    belong to the finest level. Few objects can repeat a shape: such anchors do not count.

    Args:
        boxes: [N, 4] xyxy in [0, 1] of the image, of the training split.
        model: its anchors and the side of its input.
        matching: when an anchor reaches an object.
    """
    if len(boxes) == 0:
        return None
    sides = np.maximum((boxes[:, 2:] - boxes[:, :2]) * model.image_size, _MIN_SIDE)
    sides = sides[:: math.ceil(len(sides) / _MAX_OBJECTS)].astype(np.float64)
    own = np.array([shape for level in model.anchors for shape in level.shapes])
    by_area = sides[np.argsort(sides.prod(axis=1), kind="stable")]
    ranks = np.linspace(0, len(by_area) - 1, len(own)).round().astype(int)
    proposals = [_to_levels(_cluster(sides, start), model) for start in (own, by_area[ranks])]

    def count_reached(levels: Sequence[AnchorLevel]) -> tuple[int, float]:
        iou, _ = find_best_anchors(boxes, levels, model.image_size)
        return int(reaches_threshold(iou, matching).sum()), float(iou.mean())

    best = max(filter(_is_varied, proposals), key=count_reached, default=None)
    is_better = best is not None and count_reached(best)[0] > count_reached(model.anchors)[0]
    return best if is_better else None


def to_assignment(levels: Sequence[AnchorLevel]) -> str:
    """Return anchors as the word that `--set` takes."""
    values = [level.model_dump(mode="json") for level in levels]
    return f"train.model.anchors={json.dumps(values, separators=(',', ':'))}"


def _cluster(sides: Array, centres: Array) -> Array:
    """Return the centres [K, 2] of clusters of [N, 2] sides; an empty cluster stays in place."""
    nearest: IntArray = np.full(len(sides), -1)
    for _ in range(_MAX_ROUNDS):
        shared = np.minimum(sides[:, None], centres).prod(axis=2)
        union = sides.prod(axis=1)[:, None] + centres.prod(axis=1) - shared
        before, nearest = nearest, (shared / union).argmax(axis=1)
        if np.array_equal(before, nearest):
            break
        present = np.unique(nearest)
        moved = [np.median(sides[nearest == cluster], axis=0) for cluster in present]
        centres = centres.copy()
        centres[present] = moved
    return centres


def _is_varied(levels: Sequence[AnchorLevel]) -> bool:
    """Return whether all shapes of all levels differ."""
    shapes = [shape for level in levels for shape in level.shapes]
    return len(set(shapes)) == len(shapes)


def _to_levels(shapes: Array, model: ModelConfig) -> tuple[AnchorLevel, ...]:
    """Distribute shapes [K, 2] over the levels of a model, by area."""
    rows = iter(shapes[np.argsort(shapes.prod(axis=1), kind="stable")].round(1).tolist())
    return tuple(
        AnchorLevel(stride=level.stride, shapes=tuple(next(rows) for _ in level.shapes))
        for level in model.anchors
    )
