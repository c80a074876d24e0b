"""The content of MindRecord files, as far as it can be handled without MindSpore.

The files contain their own names: they can be moved to another folder together, but never renamed.
Files written by MindSpore's SSD have only its three columns; ours have more.
"""

import json
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ssd_core.config import SplitName
from ssd_core.data.shards.manifest import Shard
from ssd_core.errors import DataError
from ssd_core.store.local import file_sha256
from ssd_core.structures import Annotations, Array, Sample, make_annotations

FILE_NAMES: Mapping[SplitName, str] = {
    "train": "ssd.mindrecord0",
    "val": "ssd_eval.mindrecord0",
    "test": "ssd_test.mindrecord0",
}
"""The first file of each split, as MindSpore's SSD expects it."""
INDEX_SUFFIX = ".db"

_LIST = {"shape": [-1]}
SCHEMA: Mapping[str, Mapping[str, Any]] = {
    "img_id": {"type": "int32", "shape": [1]},
    "image": {"type": "bytes"},
    "annotation": {"type": "int32", "shape": [-1, 5]},
    "boxes": {"type": "float32", "shape": [-1, 4]},
    "labels": {"type": "int64"} | _LIST,
    "areas": {"type": "float64"} | _LIST,
    "is_crowd": {"type": "int32"} | _LIST,
    "is_difficult": {"type": "int32"} | _LIST,
    "box_ids": {"type": "int64"} | _LIST,
    "image_id": {"type": "int64"},
    "image_path": {"type": "string"},
    "width": {"type": "int32"},
    "height": {"type": "int32"},
}
"""The three columns of MindSpore's SSD, then those of the Arrow shards."""

_REFERENCE_COLUMNS = {name: SCHEMA[name] for name in ("img_id", "image", "annotation")}
_MAX_IMG_ID = 2**31 - 1
_MAX_HEADER_BYTES = 2**27


def make_row(sample: Sample, image: bytes) -> dict[str, Any]:
    """Return a row with all columns, as FileWriter expects it."""
    objects = sample.annotations
    return {
        "img_id": np.array([sample.image_id & _MAX_IMG_ID], np.int32),
        "image": image,
        "annotation": _annotation(sample),
        "boxes": objects.boxes,
        "labels": objects.labels,
        "areas": objects.areas,
        "is_crowd": objects.is_crowd.astype(np.int32),
        "is_difficult": objects.is_difficult.astype(np.int32),
        "box_ids": objects.box_ids,
        "image_id": sample.image_id,
        "image_path": sample.image_path,
        "width": sample.width,
        "height": sample.height,
    }


def _annotation(sample: Sample) -> Array:
    """Return [N, 5] y0, x0, y1, x1, class: the objects as MindSpore's SSD trains on them.

    Crowds are dropped and corners rounded, as in its converter; a box stays at least one pixel wide
    and high. Without objects there is one row of zeros, a box of the background, because MindSpore
    reads an empty array as a scalar.
    """
    objects = sample.annotations.select(~sample.annotations.is_crowd)
    if not len(objects):
        return np.zeros((1, 5), np.int32)
    corners = np.rint(objects.boxes).astype(np.int32)
    limits = np.array([sample.width - 1, sample.height - 1], np.int32)
    low = np.minimum(corners[:, :2], limits)
    high = np.maximum(corners[:, 2:], low + 1)
    return np.column_stack([low[:, ::-1], high[:, ::-1], objects.labels.astype(np.int32)])


def describe_files(folder: Path, names: Iterable[str]) -> tuple[Shard, ...]:
    """Return the manifest entries of the files of a set and of the index beside each."""
    files = [(name, count_rows(folder / name)) for name in names]
    return tuple(
        Shard(
            name=name,
            num_bytes=(folder / name).stat().st_size,
            rows=rows,
            sha256=file_sha256(folder / name),
        )
        for data_name, data_rows in files
        for name, rows in ((data_name, data_rows), (data_name + INDEX_SUFFIX, 0))
    )


def count_rows(path: Path) -> int:
    """Return the number of images in the index of a MindRecord file."""
    index_path = path.with_name(path.name + INDEX_SUFFIX)
    try:
        uri = f"{index_path.resolve().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True)) as index:
            return int(index.execute("SELECT COUNT(*) FROM INDEXES").fetchone()[0])
    except sqlite3.Error as error:
        raise DataError(f"{index_path}: not the index of a MindRecord file: {error}") from None


class Header(NamedTuple):
    """The first bytes of a MindRecord file."""

    files: tuple[str, ...]
    """Names of all files of the set, including this one."""
    is_own: bool
    """True if the rows have all columns of SCHEMA, False if only those of MindSpore's SSD."""


def read_header(path: Path) -> Header:
    """Read the names of the files of a set, and check the columns.

    Raises:
        DataError: the file is not a MindRecord file, or has other columns.
    """
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            content = json.loads(file.read(min(size, _MAX_HEADER_BYTES)))
        columns = dict(content["schema"][0]["schema"])
        first, *others = map(str, content["shard_addresses"])
    except (OSError, ValueError, LookupError, TypeError):
        raise DataError(f"{path}: is not a MindRecord file") from None
    if not all(columns.get(name) == kind for name, kind in _REFERENCE_COLUMNS.items()):
        raise DataError(
            f"{path}: has the columns {', '.join(columns)}; expected those of MindSpore's SSD: "
            "img_id int32 [1], image bytes, annotation int32 [-1, 5]"
        )
    is_own = all(columns.get(name) == kind for name, kind in SCHEMA.items())
    return Header((first, *others), is_own)


def columns_to_read(header: Header) -> list[str]:
    """Return the columns that `read_row` needs."""
    unused = {"img_id", "annotation"} if header.is_own else SCHEMA.keys() - _REFERENCE_COLUMNS
    return [name for name in SCHEMA if name not in unused]


def read_row(row: Mapping[str, Any], place: str) -> tuple[Sample, memoryview]:
    """Convert a row of MindDataset, with the columns to read, to a sample and its image.

    Raises:
        DataError: the lists of its objects differ in length.
    """
    image = memoryview(row["image"].tobytes())  # item() would drop trailing zeros
    if "annotation" in row:
        return _reference_sample(row, place), image
    lists = {column.name: _objects(row[column.name]) for column in fields(Annotations)}
    lists["boxes"] = lists["boxes"].reshape(-1, 4)
    if len({len(values) for values in lists.values()}) > 1:
        raise DataError(
            f"{place}: its objects have different numbers of values; convert the data set again"
        )
    flags = {name: lists[name].astype(np.bool_) for name in ("is_crowd", "is_difficult")}
    objects = Annotations(**(lists | flags))
    plain = {name: row[name].item() for name in ("image_id", "image_path", "width", "height")}
    return Sample(annotations=objects, place=place, **plain), image


def _reference_sample(row: Mapping[str, Any], place: str) -> Sample:
    """Convert a row of MindSpore's SSD, which has no size, no path and no object ids."""
    values = _objects(row["annotation"]).reshape(-1, 5)
    values = values[values[:, 4] != 0]  # the background is not an object
    return Sample(
        image_id=row["img_id"].item(),
        image_path=f"img_id {row['img_id'].item()}",
        width=0,
        height=0,
        annotations=make_annotations(
            values[:, [1, 0, 3, 2]], values[:, 4], box_ids=range(1, len(values) + 1)
        ),
        place=place,
    )


def _objects(values: Array) -> Array:
    """Return one value per object; MindSpore reads an empty array as a scalar."""
    return values if values.ndim else values.reshape(1)[:0]
