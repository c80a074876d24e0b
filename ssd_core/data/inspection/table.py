"""A split of a converted data set, column by column: the input of the statistics."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ssd_core.data.checking.duplicates import take_look
from ssd_core.data.shards.reader import SplitReader
from ssd_core.detection.boxes import compute_areas
from ssd_core.errors import DataError
from ssd_core.logs import Progress
from ssd_core.structures import Array, FloatArray, IntArray

SIZES = ("small", "medium", "large")
_SIZE_LIMITS = (32**2, 96**2)
"""Minimum areas, in square pixels, of COCO's medium and large objects."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Objects:
    """Objects of several images, without crowds, which are not training targets."""

    image_rows: IntArray
    """[M] index of the image in its split."""
    boxes: FloatArray
    """[M, 4] xyxy in [0, 1] of the image."""
    labels: IntArray
    """[M] 1..K."""
    areas: Array
    """[M] square pixels of the stored image, as in the evaluation."""

    @property
    def sides(self) -> FloatArray:
        """[M] square root of the box area, relative to the image."""
        sides: FloatArray = np.sqrt(compute_areas(self.boxes))
        return sides

    @property
    def size_rows(self) -> IntArray:
        """[M] index of the object's size in SIZES."""
        return np.searchsorted(_SIZE_LIMITS, self.areas, side="right")


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitTable:
    """One split column by column; N images."""

    image_paths: tuple[str, ...]
    """[N]."""
    image_sizes: IntArray
    """[N, 2] width and height in pixels."""
    image_bytes: IntArray
    """[N] size of the file in bytes."""
    image_hashes: tuple[str, ...]
    """[N] SHA-256 of the file."""
    image_looks: tuple[bytes, ...]
    """[N] see `take_look`; b"" if the image cannot be decoded."""
    objects: Objects
    num_crowds: int
    num_difficult: int

    @property
    def objects_per_image(self) -> IntArray:
        """[N] number of objects."""
        return np.bincount(self.objects.image_rows, minlength=len(self.image_paths))


def read_table(reader: SplitReader) -> SplitTable:
    """Read a whole split, image by image."""
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
    """Return the objects of several splits; image rows still count within each split."""
    parts = [table.objects for table in tables]
    return Objects(
        image_rows=_join([part.image_rows for part in parts], np.int64),
        boxes=_join([part.boxes for part in parts], np.float32, 4),
        labels=_join([part.labels for part in parts], np.int64),
        areas=_join([part.areas for part in parts], np.float64),
    )


def _join(parts: Sequence[Array], dtype: type[np.generic], *row: int) -> Array:
    return np.concatenate([np.zeros((0, *row), dtype), *parts])
