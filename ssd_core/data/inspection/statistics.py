"""Statistics of a converted data set: counts, sizes, repeated images, and how anchors fit."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ssd_core.config import AnchorLevel, MatchingSpec, ModelConfig
from ssd_core.data.checking.duplicates import find_near_images
from ssd_core.data.inspection.table import SIZES, Objects, SplitTable, join_objects
from ssd_core.detection.anchors import feature_sizes, find_best_anchors
from ssd_core.detection.matcher import reaches_threshold
from ssd_core.structures import Array, ClassInfo, FloatArray, IntArray

SIDE_BINS = 2
"""Bins per octave of `side_histogram`."""
SHAPE_BINS = 3
"""Bins per octave of `count_shapes`, in each direction."""
NUM_OCTAVES = 8
"""Both cover 1/256 to 1 of the image; smaller values are in the first bin."""
IOU_EDGES = np.linspace(0, 1, 21)
"""[21] bin edges of the histogram of best IoUs."""


def describe_split(table: SplitTable) -> dict[str, Any]:
    """Return the counts of a split: images, objects and their sizes."""
    per_image, objects = table.objects_per_image, table.objects
    widths, heights = table.image_sizes.T
    return {
        "images": len(table.image_paths),
        "images_without_objects": int((per_image == 0).sum()),
        "bytes": int(table.image_bytes.sum()),
        "width": spread(widths),
        "height": spread(heights),
        "objects": len(objects.labels),
        "crowds": table.num_crowds,
        "difficult": table.num_difficult,
        "objects_per_image": spread(per_image),
        "objects_per_image_histogram": np.bincount(per_image).tolist(),
        "sizes": count_sizes(objects.size_rows),
        "side_histogram": side_histogram(objects.sides),
    }


def describe_classes(
    tables: Mapping[str, SplitTable], classes: Sequence[ClassInfo]
) -> list[dict[str, Any]]:
    """Return one row per class, in label order: objects and images by split, sizes."""
    everything = join_objects(list(tables.values()))
    sides, size_rows = everything.sides, everything.size_rows
    rows = []
    for info in classes:
        found = {name: table.objects.labels == info.label for name, table in tables.items()}
        is_class = np.concatenate(list(found.values()))
        rows.append(
            {
                "label": info.label,
                "name": info.name,
                "objects": {name: int(mask.sum()) for name, mask in found.items()},
                "images": {
                    name: len(np.unique(tables[name].objects.image_rows[mask]))
                    for name, mask in found.items()
                },
                "sizes": count_sizes(size_rows[is_class]),
                "side": spread(sides[is_class]),
            }
        )
    return rows


def find_repeated(tables: Mapping[str, SplitTable]) -> list[dict[str, list[str]]]:
    """Return the groups of images with equal bytes, each as paths by split."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for split, table in tables.items():
        for digest, path in zip(table.image_hashes, table.image_paths, strict=True):
            groups.setdefault(digest, []).append((split, path))
    return [_by_split(group) for group in groups.values() if len(group) > 1]


def find_near(tables: Mapping[str, SplitTable]) -> list[dict[str, list[str]]]:
    """Return the groups of images that look the same but are not copies, each as paths by split."""
    looks: dict[str, tuple[str, str, bytes]] = {}
    for split, table in tables.items():
        columns = (table.image_hashes, table.image_paths, table.image_looks)
        for digest, path, look in zip(*columns, strict=True):
            looks.setdefault(digest, (split, path, look))
    images = list(looks.values())
    groups = find_near_images([look for _, _, look in images])
    return [_by_split([images[row][:2] for row in rows]) for rows in groups]


def _by_split(images: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    paths: dict[str, list[str]] = {}
    for split, path in images:
        paths.setdefault(split, []).append(path)
    return paths


def find_extremes(
    tables: Mapping[str, SplitTable], counts: Mapping[str, int]
) -> dict[str, list[tuple[str, int]]]:
    """Return split and row of the images with the smallest, the most and the fewest objects.

    `counts` has the maximum number of images per kind, with the keys `smallest`, `most` and
    `fewest`. No image is returned twice.
    """
    places = [(name, row) for name, each in tables.items() for row in range(len(each.image_paths))]
    num_objects = np.concatenate([table.objects_per_image for table in tables.values()])
    smallest = np.concatenate([_smallest_sides(table) for table in tables.values()])
    order = {
        "smallest": np.argsort(smallest, kind="stable")[: np.isfinite(smallest).sum()],
        "most": np.argsort(-num_objects, kind="stable")[: np.count_nonzero(num_objects)],
        "fewest": np.argsort(num_objects, kind="stable"),
    }
    taken: set[int] = set()
    found = {}
    for kind, count in counts.items():
        rows = [row for row in order[kind].tolist() if row not in taken][:count]
        taken.update(rows)
        found[kind] = [places[row] for row in rows]
    return found


def count_sizes(size_rows: IntArray) -> dict[str, int]:
    """Count objects by size; `size_rows` [M] are indices into SIZES."""
    counts = np.bincount(size_rows, minlength=len(SIZES)).tolist()
    return dict(zip(SIZES, counts, strict=True))


def side_histogram(sides: FloatArray) -> list[int]:
    """Count [M] sides in [0, 1] in logarithmic bins."""
    num_bins = NUM_OCTAVES * SIDE_BINS
    counts: list[int] = np.bincount(_log_bins(sides, SIDE_BINS), minlength=num_bins).tolist()
    return counts


def count_shapes(tables: Mapping[str, SplitTable]) -> IntArray:
    """Return [24, 24] numbers of objects by width and height relative to the image."""
    boxes = join_objects(list(tables.values())).boxes
    num_bins = NUM_OCTAVES * SHAPE_BINS
    columns, rows = _log_bins(boxes[:, 2:] - boxes[:, :2], SHAPE_BINS).T
    counts = np.bincount(columns * num_bins + rows, minlength=num_bins * num_bins)
    return counts.reshape(num_bins, num_bins)


def spread(values: Array) -> dict[str, float] | None:
    """Return minimum, median, mean and maximum, or None without values."""
    if len(values) == 0:
        return None
    spread = (values.min(), np.median(values), values.mean(), values.max())
    names = ("min", "median", "mean", "max")
    return {name: round(float(value), 4) for name, value in zip(names, spread, strict=True)}


def _log_bins(values: FloatArray, per_octave: int) -> IntArray:
    """Return the bin of each value in [0, 1]; the last one ends at 1."""
    octaves = np.log2(np.maximum(values, 2.0**-NUM_OCTAVES)) + NUM_OCTAVES
    bins: IntArray = np.minimum(octaves * per_octave, NUM_OCTAVES * per_octave - 1).astype(np.int64)
    return bins


def _smallest_sides(table: SplitTable) -> FloatArray:
    """Return [N] sides of the smallest object per image, infinite without objects."""
    smallest = np.full(len(table.image_paths), np.inf, np.float32)
    np.minimum.at(smallest, table.objects.image_rows, table.objects.sides)
    return smallest


def describe_reach(
    objects: Objects,
    model: ModelConfig,
    matching: MatchingSpec,
    *,
    num_classes: int,
) -> dict[str, Any]:
    """Return how well the anchors of a model fit the objects without augmentation.

    An object is unreached if the IoU with its best anchor does not reach the threshold; it then
    trains only this anchor, at any IoU (`detection/matcher.py`).
    """
    levels, image_size = model.anchors, model.image_size
    iou, best_levels = find_best_anchors(objects.boxes, levels, image_size)
    is_unreached = ~reaches_threshold(iou, matching)
    return {
        "image_size": image_size,
        "iou_threshold": matching.iou_threshold,
        "objects": len(iou),
        "unreached": int(is_unreached.sum()),
        "unreached_sizes": count_sizes(objects.size_rows[is_unreached]),
        "unreached_classes": np.bincount(
            objects.labels[is_unreached] - 1, minlength=num_classes
        ).tolist(),
        "best_iou": spread(iou),
        "best_iou_histogram": np.histogram(iou, IOU_EDGES)[0].tolist(),
        "unreached_side_histogram": side_histogram(objects.sides[is_unreached]),
        "levels": _describe_levels(levels, image_size, best_levels),
    }


def _describe_levels(
    levels: Sequence[AnchorLevel], image_size: int, best_levels: IntArray
) -> list[dict[str, Any]]:
    """Return one row per level of anchors; `best_levels` contains the level of each best anchor."""
    num_objects = np.bincount(best_levels, minlength=len(levels)).tolist()
    return [
        {
            "stride": level.stride,
            "shapes": np.round(level.shapes, 1).tolist(),
            "anchors": cells * cells * len(level.shapes),
            "objects": objects,
        }
        for level, cells, objects in zip(
            levels, feature_sizes(levels, image_size), num_objects, strict=True
        )
    ]
