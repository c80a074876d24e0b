"""MindRecord files of other programs: adopted unchanged, checked and read."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ssd_core.data.shards.files import find_faults
from ssd_core.data.shards.mindrecord.format import SCHEMA
from ssd_core.errors import DataError, OwnershipError, UsageError
from ssd_core.store import LocalDirectory
from tests.datasets import convert_into, manifest_of, run_convert, split_of

pytestmark = pytest.mark.mindspore

CONFIG: dict[str, Any] = {"format": "mindrecord", "shards": "mindrecord"}
REFERENCE: dict[str, Any] = {name: SCHEMA[name] for name in ("img_id", "image", "annotation")}
Row = tuple[int, bytes, Sequence[Sequence[int]]]


def write(path: Path, rows: Sequence[Row], schema: Mapping[str, Any], num_files: int) -> None:
    """Write files one row per call, as MindSpore's SSD does."""
    from mindspore.mindrecord import FileWriter

    path.parent.mkdir(parents=True, exist_ok=True)
    writer = FileWriter(str(path), num_files)
    writer.add_schema(dict(schema), "ssd")
    for img_id, image, annotation in rows:
        array = np.array(annotation, np.int32)
        row = {"img_id": np.array([img_id], np.int32), "image": image, "annotation": array}
        writer.write_raw_data([row])
    writer.commit()


@pytest.fixture(scope="module")
def images(bccd_dir: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted((bccd_dir / "JPEGImages").iterdir())[:9]]


def boxes_of(index: int) -> list[list[int]]:
    """Return y0, x0, y1, x1, class of the objects of an image, which has 640 x 480 pixels."""
    return [[i, 10 + i, 100 + index, 200 + i, 1 + i % 2] for i in range(1 + index % 3)]


@pytest.fixture(scope="module")
def records(images: list[bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder as written by MindSpore's SSD: seven images in three files, two in one."""
    folder = tmp_path_factory.mktemp("records")
    rows = [(100 + i, image, boxes_of(i)) for i, image in enumerate(images)]
    write(folder / "ssd.mindrecord", rows[:7], REFERENCE, 3)
    write(folder / "ssd_eval.mindrecord0", rows[7:], REFERENCE, 1)
    return folder


@pytest.fixture
def own_records(records: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(records, tmp_path / "records"))


def test_files_are_linked_counted_and_read(
    records: Path, images: list[bytes], tmp_path: Path
) -> None:
    before = {path.name: path.stat() for path in records.iterdir()}
    result = convert_into(tmp_path / "out", CONFIG | {"classes": ["cat", "dog"]}, records)
    assert result.metrics == {"images": 9, "boxes": 13 + 5}
    manifest = manifest_of(tmp_path / "out")
    assert manifest.source["format"] == "mindrecord"
    assert [(entry.label, entry.name, entry.category_id) for entry in manifest.classes] == [
        (1, "cat", 1),
        (2, "dog", 2),
    ]
    train = manifest.splits["train"]
    assert [shard.name for shard in train.shards] == [
        f"ssd.mindrecord{i}{suffix}" for i in range(3) for suffix in ("", ".db")
    ]
    assert (train.images, train.boxes, train.max_boxes) == (7, 13, 3)
    assert sum(shard.rows for shard in train.shards) == 7
    assert list(find_faults(LocalDirectory(tmp_path / "out"), manifest.shards())) == []
    for name, status in before.items():
        assert (tmp_path / "out" / name).stat().st_ino == status.st_ino
        assert (records / name).stat().st_mode == status.st_mode
    reader = split_of(tmp_path / "out", "train")
    assert sorted(record.image_id for record in reader.read(range(7))) == list(range(100, 107))
    for record in reader.read([6, 0, 3]):
        number = record.image_id - 100
        assert bytes(record.image) == images[number]
        assert (record.width, record.height) == (640, 480)
        boxes = [[x0, y0, x1, y1] for y0, x0, y1, x1, _ in boxes_of(number)]
        assert record.annotations.boxes.tolist() == boxes
        assert record.annotations.labels.tolist() == [row[4] for row in boxes_of(number)]
        assert record.annotations.areas.tolist() == [(c - a) * (d - b) for a, b, c, d in boxes]
        assert record.annotations.box_ids.tolist() == list(range(1, len(boxes) + 1))


def test_a_second_run_changes_nothing_and_a_changed_set_is_refused(
    own_records: Path, images: list[bytes], tmp_path: Path
) -> None:
    first = convert_into(tmp_path / "out", CONFIG, own_records)
    assert convert_into(tmp_path / "out", CONFIG, own_records) == first
    for path in own_records.glob("ssd_eval*"):
        path.unlink()
    write(own_records / "ssd_eval.mindrecord0", [(1, images[0], boxes_of(0))], REFERENCE, 1)
    with pytest.raises(OwnershipError, match="the source has changed since"):
        convert_into(tmp_path / "out", CONFIG, own_records)
    manifest = manifest_of(tmp_path / "out")
    assert list(find_faults(LocalDirectory(tmp_path / "out"), manifest.shards())) == []


def test_an_additional_or_missing_set_is_another_data_set(
    own_records: Path, tmp_path: Path
) -> None:
    convert_into(tmp_path / "out", CONFIG, own_records)
    for path in own_records.glob("ssd_eval*"):
        path.rename(tmp_path / path.name)
    with pytest.raises(OwnershipError, match="the source has changed since"):
        convert_into(tmp_path / "out", CONFIG, own_records)
    convert_into(tmp_path / "train", CONFIG, own_records)
    for path in tmp_path.glob("ssd_eval*"):
        path.rename(own_records / path.name)
    with pytest.raises(OwnershipError, match="the source has changed since"):
        convert_into(tmp_path / "train", CONFIG, own_records)


def test_sets_in_separate_folders(records: Path, tmp_path: Path) -> None:
    for split, pattern in (("train", "ssd.*"), ("val", "ssd_eval.*")):
        (tmp_path / "source" / split).mkdir(parents=True)
        for path in records.glob(pattern):
            shutil.copy2(path, tmp_path / "source" / split)
    convert_into(tmp_path / "out", CONFIG | {"format": "auto"}, tmp_path / "source")
    manifest = manifest_of(tmp_path / "out")
    assert manifest.splits["val"].shards[0].name == "val/ssd_eval.mindrecord0"
    assert [entry.name for entry in manifest.classes] == ["1", "2"]
    assert split_of(tmp_path / "out", "train").num_images == 7


def test_our_own_files_lose_nothing(few_images: Path, tmp_path: Path) -> None:
    convert_into(tmp_path / "first", {"shards": "mindrecord"}, few_images)
    (tmp_path / "moved").mkdir()
    for path in (tmp_path / "first").glob("ssd*"):
        path.rename(tmp_path / "moved" / path.name)
    convert_into(tmp_path / "second", CONFIG, tmp_path / "moved")
    convert_into(tmp_path / "arrow", {}, few_images)
    pairs = zip(
        split_of(tmp_path / "second", "val").read(range(4)),
        split_of(tmp_path / "arrow", "val").read(range(4)),
        strict=True,
    )
    for adopted, arrow in pairs:
        assert (adopted.image_path, adopted.image_id) == (arrow.image_path, arrow.image_id)
        assert adopted.annotations.box_ids.tolist() == arrow.annotations.box_ids.tolist()


def test_the_command_names_the_missing_option(records: Path, tmp_path: Path) -> None:
    done = run_convert(records, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "adopted unchanged; add --shards mindrecord" in done.stderr


@pytest.mark.parametrize(
    ("config", "error", "message"),
    [
        ({"policy": "skip"}, UsageError, "images cannot be skipped"),
        ({"train": "ssd.mindrecord7"}, UsageError, "--train ssd.mindrecord7: no such set; there a"),
        ({"classes": ["a=b", "c"]}, UsageError, "the labels in MindRecord files cannot be changed"),
        ({"classes": ["cat"]}, DataError, "class 2 occurs, but --classes has 1 names"),
    ],
)
def test_invalid_options(
    records: Path, tmp_path: Path, config: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        convert_into(tmp_path / "out", CONFIG | config, records)
    assert not (tmp_path / "out" / "manifest.json").exists()


@pytest.mark.parametrize("name", ["ssd.mindrecord1", "ssd.mindrecord2.db"])
def test_an_incomplete_set_is_refused(own_records: Path, tmp_path: Path, name: str) -> None:
    (own_records / name).unlink()
    with pytest.raises(DataError, match=rf"belongs to {name}, which is missing in "):
        convert_into(tmp_path / "out", CONFIG, own_records)


def test_files_of_another_kind_are_refused(images: list[bytes], tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "a").write_text("no MindRecord")
    (source / "a.db").touch()
    with pytest.raises(DataError, match="a: is not a MindRecord file"):
        convert_into(tmp_path / "out", CONFIG, source)
    for path in source.iterdir():
        path.unlink()
    with pytest.raises(DataError, match="contains no MindRecord file"):
        convert_into(tmp_path / "out", CONFIG, source)
    schema = REFERENCE | {"annotation": {"type": "int32", "shape": [-1, 4]}}
    write(source / "train.mindrecord", [(1, images[0], [[1, 2, 3, 4]])], schema, 1)
    with pytest.raises(DataError, match=r"expected those of MindSpore's SSD: .* \[-1, 5\]"):
        convert_into(tmp_path / "out", CONFIG, source)


def test_invalid_boxes_fail_or_are_repaired_when_read(images: list[bytes], tmp_path: Path) -> None:
    rows = [
        (1, images[0], [[5, 5, 5, 9, 1], [1, 2, 30, 40, 1], [-3, 0, 20, 20, 2]]),
        (2, images[1], [[0, 0, 0, 0, 0]]),  # no objects
    ]
    write(tmp_path / "source/train.mindrecord", rows, REFERENCE, 1)
    with pytest.raises(DataError, match="row 0: object 1 .* has no area .*error 1 of 2"):
        convert_into(tmp_path / "strict", CONFIG, tmp_path / "source")
    convert_into(tmp_path / "out", CONFIG | {"policy": "repair"}, tmp_path / "source")
    manifest = manifest_of(tmp_path / "out")
    assert manifest.findings == {"box_partly_outside": 1, "box_without_area": 1}
    assert (manifest.splits["train"].boxes, manifest.splits["train"].max_boxes) == (2, 2)
    first, second = split_of(tmp_path / "out", "train").read([0, 1])
    assert first.annotations.boxes.tolist() == [[2, 1, 40, 30], [0, 0, 20, 20]]
    assert len(second.annotations) == 0


def test_equal_images_are_found(images: list[bytes], tmp_path: Path) -> None:
    source = tmp_path / "source"
    train = [(number, images[number % 2], boxes_of(0)) for number in range(3)]
    write(source / "train.mindrecord", train, REFERENCE, 1)
    write(source / "val.mindrecord", [(9, images[1], boxes_of(0))], REFERENCE, 1)
    convert_into(tmp_path / "out", CONFIG, source)
    assert manifest_of(tmp_path / "out").findings == {
        "equal_images": 1,
        "equal_images_in_both_splits": 1,
    }
    findings = json.loads((tmp_path / "out/findings.json").read_text())["findings"]
    assert findings[0]["place"].endswith("train.mindrecord row 2")
    assert findings[0]["detail"].endswith("train.mindrecord row 0")


def test_an_unusable_image_is_an_error(images: list[bytes], tmp_path: Path) -> None:
    rows = [(1, images[0], boxes_of(0)), (2, images[1][:5000], boxes_of(1))]
    write(tmp_path / "source/train.mindrecord", rows, REFERENCE, 1)
    for policy, message in (
        ("strict", "row 1: .*image_truncated"),
        ("repair", "row 1: .* adopted unchanged, so images cannot be dropped"),
    ):
        with pytest.raises(DataError, match=message):
            convert_into(tmp_path / policy, CONFIG | {"policy": policy}, tmp_path / "source")
        assert not (tmp_path / policy / "manifest.json").exists()


def test_a_conversion_never_overwrites_files_of_other_programs(
    own_records: Path, few_images: Path
) -> None:
    before = (own_records / "ssd_eval.mindrecord0").read_bytes()
    with pytest.raises(OwnershipError, match="already exists and was not written by"):
        convert_into(own_records, {"shards": "mindrecord"}, few_images)
    assert (own_records / "ssd_eval.mindrecord0").read_bytes() == before
