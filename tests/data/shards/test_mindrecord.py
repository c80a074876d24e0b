"""MindRecord shards: read by MindSpore as in its SSD, and by us without loss."""

import json
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ssd_core.data.shards.files import find_faults
from ssd_core.data.shards.mindrecord.format import FILE_NAMES, count_rows
from ssd_core.data.shards.reader import SplitReader
from ssd_core.errors import DataError
from ssd_core.store import LocalDirectory
from ssd_core.structures import Record
from tests.datasets import change_manifest, convert_into, flip_a_bit, manifest_of, split_of

pytestmark = pytest.mark.mindspore

REFERENCE_COLUMNS = ["img_id", "image", "annotation"]
BOXES = {
    # image id: (xywh, category, crowd)
    7: [([1.5, 2.5, 10.2, 7.3], 3, 0), ([0, 0, 20, 10], 1, 1), ([19.6, 9.6, 0.3, 0.3], 3, 0)],
    9: [],
    2**33 + 5: [([4, 4, 6, 6], 1, 0)],
    11: [([2, 2, 9, 5], 3, 1)],
}


@pytest.fixture(scope="session")
def odd_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a COCO set of tiny BMP files: crowds, fractions, a huge id, no objects."""
    folder = tmp_path_factory.mktemp("odd") / "source"
    (folder / "images").mkdir(parents=True)
    images, annotations = [], []
    for image_id, boxes in BOXES.items():
        name = f"bild ü {image_id}.bmp"
        Image.new("RGB", (20, 10)).save(folder / "images" / name)  # black: zeros at its end
        images.append({"id": image_id, "file_name": name, "width": 20, "height": 10})
        for box, category, crowd in boxes:
            number = len(annotations) + 100
            item = {"id": number, "image_id": image_id, "category_id": category, "bbox": box}
            annotations.append(item | {"area": number / 3, "iscrowd": crowd})
    categories = [{"id": 1, "name": "cat"}, {"id": 3, "name": "dog"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    for split in ("train", "val"):
        (folder / f"instances_{split}.json").write_text(json.dumps(content))
    return folder


@pytest.fixture(scope="session")
def converted(
    odd_dir: Path, bccd_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[str, str], Path]:
    """Return both sets in both formats."""
    folder = tmp_path_factory.mktemp("converted")
    sources = {"odd": odd_dir, "cells": bccd_dir}
    places = {(name, form): folder / name / form for name in sources for form in FORMATS}
    for (name, form), out_dir in places.items():
        convert_into(out_dir, {"shards": form}, sources[name])
    return places


FORMATS = ("arrow", "mindrecord")
Converted = dict[tuple[str, str], Path]


def both(converted: Converted, name: str, split: str) -> list[SplitReader]:
    return [split_of(converted[name, form], split) for form in FORMATS]


def read_as_mindspore(path: Path) -> list[dict[str, Any]]:
    """Read a split as MindSpore's SSD does: by the name of its first file."""
    from mindspore.dataset import MindDataset

    rows = MindDataset(str(path), columns_list=REFERENCE_COLUMNS, shuffle=False)
    return list(rows.create_dict_iterator(num_epochs=1, output_numpy=True))


@pytest.mark.parametrize("split", ["train", "val"])
def test_mindspore_reads_the_content_of_the_arrow_shards(converted: Converted, split: str) -> None:
    rows = read_as_mindspore(converted["cells", "mindrecord"] / FILE_NAMES[split])  # type: ignore[index]
    arrow = split_of(converted["cells", "arrow"], split)
    for row, record in zip(rows, arrow.read(range(arrow.num_images)), strict=True):
        assert row["image"].tobytes() == bytes(record.image)
        assert row["img_id"].tolist() == [record.image_id]
        objects = record.annotations
        corners = np.rint(objects.boxes[:, [1, 0, 3, 2]])
        assert row["annotation"].dtype == np.int32
        assert row["annotation"].tolist() == np.column_stack([corners, objects.labels]).tolist()


def test_mindspore_reads_odd_images(converted: Converted) -> None:
    """Crowds are dropped, boxes rounded to at least a pixel, no objects are one row of zeros."""
    rows = read_as_mindspore(converted["odd", "mindrecord"] / "ssd.mindrecord0")
    assert [row["annotation"].tolist() for row in rows] == [
        [[2, 2, 10, 12, 2], [9, 19, 10, 20, 2]],
        [[0, 0, 0, 0, 0]],
        [[4, 4, 10, 10, 1]],
        [[0, 0, 0, 0, 0]],
    ]
    assert [row["img_id"].item() for row in rows] == [7, 9, 5, 11]


def check_equal(one: Record, other: Record) -> None:
    assert bytes(one.image) == bytes(other.image)
    for name in ("index", "image_id", "image_path", "width", "height"):
        assert getattr(one, name) == getattr(other, name), name
    for name in ("boxes", "labels", "areas", "is_crowd", "is_difficult", "box_ids"):
        left, right = getattr(one.annotations, name), getattr(other.annotations, name)
        assert (left.dtype, left.shape) == (right.dtype, right.shape), name
        assert left.tolist() == right.tolist(), name


@pytest.mark.parametrize("name", ["odd", "cells"])
def test_nothing_is_lost_against_arrow(converted: Converted, name: str) -> None:
    for split in ("train", "val"):
        arrow, mindrecord = both(converted, name, split)
        assert arrow.shard_rows == mindrecord.shard_rows == (arrow.num_images,)
        assert arrow.max_boxes == mindrecord.max_boxes
        order = np.random.default_rng(5).permutation(arrow.num_images)
        for one, other in zip(arrow.read(order), mindrecord.read(order), strict=True):
            check_equal(one, other)
    manifests = [manifest_of(converted[name, form]) for form in FORMATS]
    assert [manifest.format for manifest in manifests] == list(FORMATS)
    assert manifests[0].classes == manifests[1].classes


def test_many_threads_read_the_same_records(converted: Converted) -> None:
    reader = split_of(converted["cells", "mindrecord"], "val")

    def work(seed: int) -> dict[int, int]:
        order = np.random.default_rng(seed).permutation(40)
        return {record.index: record.image_id for record in reader.read(order)}

    with ThreadPoolExecutor(4) as pool:
        first, *others = pool.map(work, range(4))
    assert all(ids == first for ids in others)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


@pytest.mark.parametrize("name", ["ssd.mindrecord0", "ssd.mindrecord0.db"])
@pytest.mark.parametrize("damage", [flip_a_bit, cut, Path.unlink])
def test_damage_is_found_before_the_first_row(
    converted: Converted, tmp_path: Path, name: str, damage: Callable[[Path], None]
) -> None:
    data_dir = Path(shutil.copytree(converted["odd", "mindrecord"], tmp_path / "own"))
    damage(data_dir / name)
    with pytest.raises(DataError, match=f"{data_dir / name} is "):
        next(split_of(data_dir, "train").read([0]))
    shards = manifest_of(data_dir).shards()
    faults = list(find_faults(LocalDirectory(data_dir), shards))
    assert [fault.partition(" is ")[0] for fault in faults] == [str(data_dir / name)]


def test_content_that_the_manifest_excludes_is_refused(
    converted: Converted, tmp_path: Path
) -> None:
    data_dir = Path(shutil.copytree(converted["odd", "mindrecord"], tmp_path / "own"))
    change_manifest(data_dir, lambda manifest: manifest["classes"].pop())
    with pytest.raises(DataError, match=r"ssd.mindrecord0 row 0 has a class outside 1\.\.1; conv"):
        list(split_of(data_dir, "train").read_in_order())


def test_a_missing_or_damaged_index_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not the index of a MindRecord file"):
        count_rows(tmp_path / "ssd.mindrecord0")
    (tmp_path / "ssd.mindrecord0.db").write_text("no database")
    with pytest.raises(DataError, match="not the index of a MindRecord file"):
        count_rows(tmp_path / "ssd.mindrecord0")
