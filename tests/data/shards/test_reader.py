"""Random access to shards, and damaged shards."""

import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from ssd_core.data.shards.arrow import SCHEMA
from ssd_core.data.shards.reader import SplitReader
from ssd_core.errors import DataError
from ssd_core.store.known_file import KnownFile
from ssd_core.structures import Annotations
from tests.datasets import (
    change_manifest,
    convert_into,
    flip_a_bit,
    manifest_of,
    names_in,
    split_of,
)


@pytest.fixture(scope="module")
def many_shards(bccd_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out_dir = tmp_path_factory.mktemp("many") / "shards"
    convert_into(out_dir, {"shard_bytes": 300_000}, bccd_dir)
    return out_dir


@pytest.fixture
def own_shards(many_shards: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(many_shards, tmp_path / "shards"))


def test_records_are_read_in_any_order(many_shards: Path, bccd_dir: Path) -> None:
    reader = split_of(many_shards, "train")
    assert len(reader.shard_rows) > 3
    assert sum(reader.shard_rows) == reader.num_images == 100
    names = names_in(bccd_dir, "train")
    indices = np.random.default_rng(3).permutation(100)
    for index, record in zip(indices, reader.read(indices), strict=True):
        assert record.index == index
        assert record.image_path == f"JPEGImages/{names[index]}.jpg"
        assert bytes(record.image) == (bccd_dir / record.image_path).read_bytes()
        assert (record.width, record.height) == (640, 480)
    boxes = [len(record.annotations) for record in reader.read(range(100))]
    assert sum(boxes) == reader.manifest.splits["train"].boxes
    assert max(boxes) == reader.max_boxes
    assert [info.name for info in reader.classes] == ["Platelets", "RBC", "WBC"]


def test_arrays_have_the_types_of_annotations(bccd_shards: Path) -> None:
    (record,) = split_of(bccd_shards, "val").read([7])
    annotations = record.annotations
    assert annotations.boxes.dtype == np.float32
    assert annotations.boxes.shape == (len(annotations), 4)
    assert annotations.labels.dtype == annotations.box_ids.dtype == np.int64
    assert annotations.areas.dtype == np.float64
    assert annotations.is_crowd.dtype == annotations.is_difficult.dtype == np.bool_
    assert not annotations.boxes.flags.writeable


def test_a_position_outside_the_split_is_an_index_error(bccd_shards: Path) -> None:
    reader = split_of(bccd_shards, "val")
    for index in (-1, 40):
        with pytest.raises(IndexError):
            next(reader.read([index]))


def test_many_threads_read_the_same_records(many_shards: Path) -> None:
    reader = split_of(many_shards, "train")

    def work(seed: int) -> dict[int, int]:
        order = np.random.default_rng(seed).permutation(100)
        return {record.index: sum(record.image[:99]) for record in reader.read(order)}

    with ThreadPoolExecutor(8) as pool:
        first, *others = pool.map(work, range(8))
    assert all(sums == first for sums in others)


def test_an_unknown_split_is_an_error(bccd_shards: Path) -> None:
    with pytest.raises(DataError, match="has no split 'test'; it has: train, val"):
        split_of(bccd_shards, "test")


def test_a_missing_or_truncated_shard_is_found_on_opening(own_shards: Path) -> None:
    path = own_shards / "val-00000.arrow"
    size = path.stat().st_size
    os.truncate(path, 1000)
    for split in ("train", "val"):
        with pytest.raises(DataError, match=f"{path} is damaged: 1000 bytes, expected {size}"):
            split_of(own_shards, split)
    path.unlink()
    with pytest.raises(DataError, match=f"{path} is missing"):
        split_of(own_shards, "train")


def test_a_changed_shard_is_found_before_its_first_use(own_shards: Path) -> None:
    reader = split_of(own_shards, "train")
    flip_a_bit(own_shards / "train-00001.arrow")
    expected = manifest_of(own_shards).splits["train"].shards[1].sha256[:12]
    assert next(reader.read([0])).index == 0  # another shard
    with pytest.raises(DataError, match=f"train-00001.arrow is damaged: .*, expected {expected}"):
        next(reader.read([reader.shard_rows[0]]))


Table = dict[str, list[Any]]


def set_each(column: str, change: Callable[[Any], Any]) -> Callable[[Table], Table]:
    return lambda table: table | {column: [change(value) for value in table[column]]}


def keep_rows(count: int) -> Callable[[Table], Table]:
    return lambda table: {name: values[:count] for name, values in table.items()}


FOREIGN: dict[str, tuple[Callable[[Table], Table], str]] = {
    "fewer rows": (keep_rows(1), "1 rows, the manifest has 40"),
    "no rows": (keep_rows(0), "0 rows, the manifest has 40"),
    "class above": (set_each("labels", lambda v: [4] * len(v)), "a class outside 1..3"),
    "class 0": (set_each("labels", lambda v: [0] * len(v)), "a class outside 1..3"),
    "class below": (set_each("labels", lambda v: [-7] * len(v)), "a class outside 1..3"),
    "not a number": (set_each("boxes", lambda v: [[math.nan] * 4] * len(v)), "a box without area"),
    "huge boxes": (set_each("boxes", lambda v: [[-1e30, 0, 1e30, 9]] * len(v)), "or outside its i"),
    "inverted": (set_each("boxes", lambda v: [[50, 50, 10, 10]] * len(v)), "a box without area"),
    "beside the image": (set_each("boxes", lambda v: [[0, 0, 641, 9]] * len(v)), "or outside its "),
    "more values": (set_each("areas", lambda v: [*v, 1.0]), "different numbers of values"),
    "more objects": (
        lambda table: repeat_objects(table, 3),
        "objects in one image, the manifest has at most 30",
    ),
    "null path": (set_each("image_path", lambda _: None), "a value is null"),
    "null area": (set_each("areas", lambda v: [None] * len(v)), "a value is null"),
    "null corner": (set_each("boxes", lambda v: [[None, 0, 9, 9]] * len(v)), "a value is null"),
    "no width": (set_each("width", lambda _: 0), "an image without width or height"),
    "no image": (set_each("image", lambda _: b""), "an image is empty"),
    "odd flag": (set_each("is_crowd", lambda v: [2] * len(v)), "a flag is neither 0 nor 1"),
}


def repeat_objects(table: Table, times: int) -> Table:
    names = [field.name for field in fields(Annotations)]
    return table | {name: [value * times for value in table[name]] for name in names}


def replace_shard(shards: Path, data_dir: Path, change: Callable[[Table], Table]) -> SplitReader:
    """Copy a data set with a shard that another program wrote; size, hash and digest agree."""
    content = (shards / "val-00000.arrow").read_bytes()
    table = pa.ipc.open_file(pa.BufferReader(content)).read_all().to_pydict()
    stream = pa.BufferOutputStream()
    with pa.ipc.new_file(stream, SCHEMA) as writer:
        writer.write_table(pa.table(change(table), schema=SCHEMA))
    return put_shard(shards, data_dir, stream.getvalue().to_pybytes())


def put_shard(shards: Path, data_dir: Path, content: bytes) -> SplitReader:
    shutil.copytree(shards, data_dir)
    (data_dir / "val-00000.arrow").write_bytes(content)
    known = KnownFile.of("val-00000.arrow", content).model_dump(mode="json")
    change_manifest(data_dir, lambda manifest: manifest["splits"]["val"]["shards"][0].update(known))
    return split_of(data_dir, "val")


@pytest.mark.parametrize("kind", FOREIGN)
def test_invalid_content_with_a_valid_hash_is_refused(
    bccd_shards: Path, tmp_path: Path, kind: str
) -> None:
    change, message = FOREIGN[kind]
    reader = replace_shard(bccd_shards, tmp_path / "shards", change)
    with pytest.raises(DataError, match=f"val-00000.arrow is not a valid shard: .*{message}"):
        list(reader.read_in_order())


def test_a_shard_of_another_writer_is_read(bccd_shards: Path, tmp_path: Path) -> None:
    reader = replace_shard(bccd_shards, tmp_path / "shards", lambda table: table)
    ours = split_of(bccd_shards, "val").read_in_order()
    for one, other in zip(ours, reader.read_in_order(), strict=True):
        assert bytes(one.image) == bytes(other.image)
        assert one.annotations.boxes.tolist() == other.annotations.boxes.tolist()


def test_a_file_that_is_not_arrow_is_refused(bccd_shards: Path, tmp_path: Path) -> None:
    reader = put_shard(bccd_shards, tmp_path / "shards", b"no shard")
    with pytest.raises(DataError, match=r"is not a valid shard: .*; convert the data set again"):
        list(reader.read_in_order())


def test_a_shard_is_hashed_once_per_process(own_shards: Path) -> None:
    """A second reader does not hash again: it misses a flipped bit if the time is unchanged."""
    assert next(split_of(own_shards, "train").read([0]))
    path = own_shards / "train-00000.arrow"
    status = path.stat()
    flip_a_bit(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert next(split_of(own_shards, "train").read([0]))
    code = (
        "import sys; from ssd_core.store import Location;"
        "from ssd_core.data.shards.reader import open_split;"
        "next(open_split(Location.parse(sys.argv[1]), 'train').read([0]))"
    )
    done = subprocess.run([sys.executable, "-c", code, own_shards], capture_output=True, text=True)
    assert "DataError" in done.stderr
    assert str(path) in done.stderr
