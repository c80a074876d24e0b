"""How well the anchors of a recipe fit the objects of a data set."""

from typing import Any

import numpy as np

from ssd_core.config import AnchorSpec
from ssd_core.data.split_table import Objects
from ssd_core.data.statistics import count_sizes, side_histogram, spread
from ssd_core.detection.anchors import feature_sizes, generate_anchors
from ssd_core.detection.reach import find_best_anchors
from ssd_core.structures import IntArray

IOU_EDGES = np.linspace(0, 1, 21)
"""[21] bounds of the histogram of best IoUs."""


def describe_reach(
    objects: Objects, spec: AnchorSpec, image_size: int, *, iou_threshold: float, num_classes: int
) -> dict[str, Any]:
    """Return how well anchors reach the objects as they are, before any augmentation.

    An object is unreached when its best anchor overlaps it by less than the threshold; it then
    trains this one anchor only, whatever the IoU (`detection/matcher.py`).

    Args:
        objects: of the data set.
        spec: the anchors.
        image_size: side of the square network input in pixels.
        iou_threshold: lowest IoU at which an anchor is positive.
        num_classes: K.
    """
    iou, levels = find_best_anchors(objects.boxes, spec, image_size)
    is_unreached = iou < np.float32(iou_threshold)
    return {
        "image_size": image_size,
        "iou_threshold": iou_threshold,
        "objects": len(iou),
        "unreached": int(is_unreached.sum()),
        "unreached_sizes": count_sizes(objects.size_rows[is_unreached]),
        "unreached_classes": np.bincount(
            objects.labels[is_unreached] - 1, minlength=num_classes
        ).tolist(),
        "best_iou": spread(iou),
        "best_iou_histogram": np.histogram(iou, IOU_EDGES)[0].tolist(),
        "unreached_side_histogram": side_histogram(objects.sides[is_unreached]),
        "levels": _describe_levels(spec, image_size, levels),
    }


def _describe_levels(spec: AnchorSpec, image_size: int, levels: IntArray) -> list[dict[str, Any]]:
    """Return a row for each level of anchors; `levels` are those of the best anchors."""
    anchors = generate_anchors(spec, image_size) * image_size
    columns = zip(
        spec.strides,
        feature_sizes(spec, image_size),
        spec.boxes_per_cell,
        np.bincount(levels, minlength=len(spec.strides)).tolist(),
        strict=True,
    )
    rows: list[dict[str, Any]] = []
    start = 0
    for stride, cells, per_cell, num_objects in columns:
        rows.append(
            {
                "stride": stride,
                "shapes": anchors[start : start + per_cell, 2:].round(1).tolist(),
                "anchors": cells * cells * per_cell,
                "objects": num_objects,
            }
        )
        start += cells * cells * per_cell
    return rows
