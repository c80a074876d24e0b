"""What a converted data set is made of: counts, sizes, images that occur twice."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ssd_core.data.near_images import find_near_images, take_look
from ssd_core.data.shards.reader import SplitReader
from ssd_core.detection.boxes import compute_areas
from ssd_core.errors import DataError
from ssd_core.logs import Progress
from ssd_core.structures import Array, ClassInfo, FloatArray, IntArray

SIZES = ("small", "medium", "large")
_SIZE_LIMITS = (32**2, 96**2)
"""Areas in square pixels at which COCO's medium and large objects begin."""

SIDE_BINS = 2
"""Bins an octave of `side_histogram`."""
SHAPE_BINS = 3
"""Bins an octave of `count_shapes`, in each direction."""
NUM_OCTAVES = 8
"""Both reach from 1/256 of the image to all of it; what is smaller is in their first bin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Objects:
    """Objects of one or more images, without crowds: no target is made of those."""

    image_rows: IntArray
    """[M] position of the image in its split."""
    boxes: FloatArray
    """[M, 4] xyxy in [0, 1] of the image."""
    labels: IntArray
    """[M] 1..K."""
    areas: Array
    """[M] square pixels of the stored image, as the evaluator counts them."""

    @property
    def sides(self) -> FloatArray:
        """[M] root of the area of the box, relative to the image."""
        sides: FloatArray = np.sqrt(compute_areas(self.boxes))
        return sides

    @property
    def size_rows(self) -> IntArray:
        """[M] position of the object's size in SIZES."""
        return np.searchsorted(_SIZE_LIMITS, self.areas, side="right")


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitTable:
    """One split column by column; N images."""

    image_paths: tuple[str, ...]
    """[N]."""
    image_sizes: IntArray
    """[N, 2] width and height in pixels."""
    image_bytes: IntArray
    """[N] bytes of the file."""
    image_hashes: tuple[str, ...]
    """[N] SHA-256 of the file."""
    image_looks: tuple[bytes, ...]
    """[N] see `near_images.take_look`; b"" where the image cannot be decoded."""
    objects: Objects
    num_crowds: int
    num_difficult: int

    @property
    def objects_per_image(self) -> IntArray:
        """[N] number of objects."""
        return np.bincount(self.objects.image_rows, minlength=len(self.image_paths))


def read_table(reader: SplitReader) -> SplitTable:
    """Read a whole split, image by image.

    Raises:
        DataError: a shard does not have the content that the manifest promises.
    """
    paths, sizes, num_bytes, hashes, looks, found = [], [], [], [], [], []
    with Progress(f"inspect: {reader.split} image", reader.num_images) as progress:
        for record in reader.read_in_order():
            paths.append(record.image_path)
            sizes.append((record.width, record.height))
            num_bytes.append(len(record.image))
            hashes.append(hashlib.sha256(record.image).hexdigest())
            looks.append(_look(record.image))
            found.append(record.annotations)
            progress.update(record.index + 1)
    is_crowd = _join([each.is_crowd for each in found], np.bool_)
    counts = np.array([len(each) for each in found], np.int64)
    image_sizes = np.array(sizes, np.int64).reshape(-1, 2)
    rows = np.repeat(np.arange(len(found)), counts)[~is_crowd]
    boxes: FloatArray = _join([each.boxes for each in found], np.float32, 4)[~is_crowd]
    boxes /= np.tile(image_sizes, 2)[rows]
    return SplitTable(
        image_paths=tuple(paths),
        image_sizes=image_sizes,
        image_bytes=np.array(num_bytes, np.int64),
        image_hashes=tuple(hashes),
        image_looks=tuple(looks),
        objects=Objects(
            image_rows=rows,
            boxes=boxes,
            labels=_join([each.labels for each in found], np.int64)[~is_crowd],
            areas=_join([each.areas for each in found], np.float64)[~is_crowd],
        ),
        num_crowds=int(is_crowd.sum()),
        num_difficult=int(_join([each.is_difficult for each in found], np.bool_).sum()),
    )


def _look(image: memoryview) -> bytes:
    try:
        return take_look(image)
    except DataError:
        return b""


def join_objects(tables: Sequence[SplitTable]) -> Objects:
    """Return the objects of several splits; their image rows still count within each split."""
    parts = [table.objects for table in tables]
    return Objects(
        image_rows=_join([part.image_rows for part in parts], np.int64),
        boxes=_join([part.boxes for part in parts], np.float32, 4),
        labels=_join([part.labels for part in parts], np.int64),
        areas=_join([part.areas for part in parts], np.float64),
    )


def describe_split(table: SplitTable) -> dict[str, Any]:
    """Return the counts of a split: images, objects, their sizes."""
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
    """Return a row for each class, in label order: objects and images by split, sizes."""
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
    """Return the images whose bytes occur more than once: for each, its paths by split."""
    groups: dict[str, dict[str, list[str]]] = {}
    for split, table in tables.items():
        for digest, path in zip(table.image_hashes, table.image_paths, strict=True):
            groups.setdefault(digest, {}).setdefault(split, []).append(path)
    return [group for group in groups.values() if sum(map(len, group.values())) > 1]


def find_near(tables: Mapping[str, SplitTable]) -> list[dict[str, list[str]]]:
    """Return the images that look the same and are no copies: for each, their paths by split."""
    looks: dict[str, tuple[str, str, bytes]] = {}
    for split, table in tables.items():
        columns = (table.image_hashes, table.image_paths, table.image_looks)
        for digest, path, look in zip(*columns, strict=True):
            looks.setdefault(digest, (split, path, look))
    images = list(looks.values())
    groups: list[dict[str, list[str]]] = []
    for rows in find_near_images([look for _, _, look in images]):
        groups.append({})
        for split, path, _ in (images[row] for row in rows):
            groups[-1].setdefault(split, []).append(path)
    return groups


def find_extremes(
    tables: Mapping[str, SplitTable], counts: Mapping[str, int]
) -> dict[str, list[tuple[str, int]]]:
    """Return split and row of the images with the smallest objects, the most and the fewest.

    Args:
        tables: by split.
        counts: how many images of each kind at most; the keys are `smallest`, `most` and `fewest`.
            No image is returned twice.
    """
    places = [(name, row) for name, each in tables.items() for row in range(len(each.image_paths))]
    num_objects = _join([table.objects_per_image for table in tables.values()], np.int64)
    smallest = _join([_smallest_sides(table) for table in tables.values()], np.float32)
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
    """Count objects by size; `size_rows` [M] are positions in SIZES."""
    counts = np.bincount(size_rows, minlength=len(SIZES)).tolist()
    return dict(zip(SIZES, counts, strict=True))


def side_histogram(sides: FloatArray) -> list[int]:
    """Count [M] sides in [0, 1], with bins that grow by the same factor."""
    num_bins = NUM_OCTAVES * SIDE_BINS
    counts: list[int] = np.bincount(_log_bins(sides, SIDE_BINS), minlength=num_bins).tolist()
    return counts


def count_shapes(tables: Mapping[str, SplitTable]) -> IntArray:
    """Return [24, 24] numbers of objects by width and by height relative to the image."""
    boxes = join_objects(list(tables.values())).boxes
    num_bins = NUM_OCTAVES * SHAPE_BINS
    columns, rows = _log_bins(boxes[:, 2:] - boxes[:, :2], SHAPE_BINS).T
    counts = np.bincount(columns * num_bins + rows, minlength=num_bins * num_bins)
    return counts.reshape(num_bins, num_bins)


def spread(values: Array) -> dict[str, float] | None:
    """Return smallest, middle, mean and largest value, None where there is none."""
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
    """Return [N] the side of the smallest object of each image, infinite without objects."""
    smallest = np.full(len(table.image_paths), np.inf, np.float32)
    np.minimum.at(smallest, table.objects.image_rows, table.objects.sides)
    return smallest


def _join(parts: Sequence[Array], dtype: type[np.generic], *row: int) -> Array:
    return np.concatenate([np.zeros((0, *row), dtype), *parts])
