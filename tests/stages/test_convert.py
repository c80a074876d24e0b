"""The convert stage: real images, all formats, faulty data, second runs."""

import json
import resource
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ssd_core.config import ConvertConfig
from ssd_core.data.shards.manifest import listing_key
from ssd_core.data.sources import open_source
from ssd_core.errors import DataError, OwnershipError, UsageError
from ssd_core.stages import convert
from ssd_core.store.layout import Layout
from tests.data.formats.small_sources import put
from tests.datasets import (
    SSD,
    convert_into,
    file_hashes,
    manifest_of,
    names_in,
    run_convert,
    split_of,
    voc_objects,
)

CLASSES = ["Platelets", "RBC", "WBC"]


def write_coco(path: Path, names: list[str], objects: list[dict[str, Any]]) -> None:
    content = {
        "images": [{"id": i, "file_name": f"{name}.jpg"} for i, name in enumerate(names)],
        "annotations": [item | {"id": number} for number, item in enumerate(objects, start=1)],
        "categories": [{"id": k, "name": name} for k, name in enumerate(CLASSES, start=1)],
    }
    path.write_text(json.dumps(content))


@pytest.fixture(scope="module")
def all_formats(bccd_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the bundled images with VOC, COCO, YOLO and TXT annotations side by side."""
    folder = tmp_path_factory.mktemp("formats") / "all"
    shutil.copytree(bccd_dir, folder)
    for split in ("train", "val"):
        names, lines, coco_objects = names_in(folder, split), [], []
        for i, name in enumerate(names):
            fields, rows = [f"{name}.jpg"], []
            for class_name, (a, b, c, d) in voc_objects(folder / f"Annotations/{name}.xml"):
                k = CLASSES.index(class_name)
                box = {"bbox": [a, b, c - a, d - b], "area": (c - a) * (d - b), "iscrowd": 0}
                coco_objects.append({"image_id": i, "category_id": k + 1} | box)
                fields.append(f"{a},{b},{c},{d},{k + 1}")
                centre = f"{(a + c) / 1280} {(b + d) / 960}"
                rows.append(f"{k} {centre} {(c - a) / 640} {(d - b) / 480}\n")
            lines.append(" ".join(fields) + "\n")
            put(folder, {f"labels/{split}/{name}.txt": "".join(rows)})
        put(folder, {f"txt_list/{split}.txt": "".join(lines)})
        write_coco(folder / f"instances_{split}.json", names, coco_objects)
    return folder


def content_of(out_dir: Path) -> list[tuple[Any, ...]]:
    """Return everything except the ids, which each format counts in its own way."""
    found = []
    for split in ("train", "val"):
        reader = split_of(out_dir, split)
        for record in reader.read(range(reader.num_images)):
            parts = record.annotations
            arrays = (parts.boxes, parts.labels, parts.areas, parts.is_crowd, parts.is_difficult)
            plain = (record.image_path, record.width, record.height, bytes(record.image))
            found.append((split, *plain, *(array.tolist() for array in arrays)))
    return found


EXPLICIT = {split: f"instances_{split}.json:JPEGImages" for split in ("train", "val")}


@pytest.mark.parametrize(
    "config",
    [
        {"format": "coco"},
        {"format": "coco"} | EXPLICIT,
        {"format": "txt", "classes": CLASSES},
    ],
)
def test_all_formats_give_the_same_shards(
    all_formats: Path, bccd_shards: Path, tmp_path: Path, config: dict[str, Any]
) -> None:
    result = convert_into(tmp_path, config, all_formats)
    assert result.metrics == {"images": 140, "boxes": 1878}
    assert content_of(tmp_path) == content_of(bccd_shards)
    assert manifest_of(tmp_path).classes == manifest_of(bccd_shards).classes


OBJECT = {"image_id": 0, "category_id": 1, "bbox": [1, 2, 30, 40]}
CROWD = OBJECT | {"iscrowd": 1}


@pytest.mark.parametrize(("crowd", "expected"), [("keep", [False, True]), ("object", [False] * 2)])
def test_crowds_are_kept_or_become_objects(
    own_source: Path, tmp_path: Path, crowd: str, expected: list[bool]
) -> None:
    write_coco(own_source / "all.json", [first_image(own_source).stem], [OBJECT, CROWD])
    config = {"train": "all.json", "val": "all.json", "crowd": crowd}
    convert_into(tmp_path / "out", config, own_source)
    for split, flags in (("train", expected), ("val", [False, True])):
        (record,) = split_of(tmp_path / "out", split).read([0])
        assert record.annotations.is_crowd.tolist() == flags
    assert manifest_of(tmp_path / "out").options["crowd"] == crowd


def test_yolo_gives_the_same_up_to_rounding(
    all_formats: Path, bccd_shards: Path, tmp_path: Path
) -> None:
    config = {"format": "yolo", "images": "JPEGImages", "classes": CLASSES}
    convert_into(tmp_path / "yolo", config, all_formats)
    both = zip(content_of(tmp_path / "yolo"), content_of(bccd_shards), strict=True)
    for (*ours, boxes, labels, areas, crowd, difficult), expected in both:
        assert boxes == [pytest.approx(box, abs=1e-4) for box in expected[5]]
        assert areas == pytest.approx(expected[7], rel=1e-5)
        assert [*ours, labels, crowd, difficult] == [
            *expected[:5],
            expected[6],
            *expected[8:],
        ]
    assert manifest_of(tmp_path / "yolo").classes[0].category_id == 0


def test_outputs(bccd_dir: Path, bccd_shards: Path, tmp_path: Path) -> None:
    out_dir = tmp_path / "out"
    result = convert_into(out_dir, {}, bccd_dir)
    assert list(file_hashes(out_dir)) == [
        "invocation.json",
        "manifest.json",
        "results.json",
        "train-00000.arrow",
        "val-00000.arrow",
    ]
    assert file_hashes(out_dir) == file_hashes(bccd_shards)
    manifest = manifest_of(out_dir)
    assert result.metadata == {"uri": str(out_dir), "digest": manifest.digest, "classes": 3}
    assert (manifest.splits["train"].images, manifest.splits["val"].images) == (100, 40)
    assert (manifest.splits["train"].boxes, manifest.splits["val"].boxes) == (1358, 520)
    assert manifest.findings == {}
    results = json.loads((out_dir / "results.json").read_text())
    assert results["digest"] == manifest.digest
    assert results["splits"]["val"] == {"images": 40, "boxes": 520, "shards": 1}
    invocation = json.loads((out_dir / "invocation.json").read_text())
    assert invocation["stage"] == "convert"
    assert invocation["inputs"]["source"]["uri"] == str(bccd_dir)


@pytest.fixture
def own_source(few_images: Path, tmp_path: Path) -> Path:
    """Return a copy of a small data set, to be changed."""
    return Path(shutil.copytree(few_images, tmp_path / "source"))


def first_image(source: Path) -> Path:
    return sorted((source / "JPEGImages").iterdir())[0]


def test_a_second_run_changes_no_shard(
    own_source: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "ssd")
    first = convert_into(tmp_path / "out", {}, own_source)
    times = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.arrow")}
    (tmp_path / "out" / "results.json").unlink()  # as if killed before the last file
    caplog.clear()
    assert convert_into(tmp_path / "out", {}, own_source) == first
    assert "already converted" in caplog.text
    assert (tmp_path / "out" / "results.json").exists()
    assert times == {p.name: p.stat().st_mtime_ns for p in (tmp_path / "out").glob("*.arrow")}


def test_a_touched_source_with_equal_content_is_the_same_data_set(
    own_source: Path, tmp_path: Path
) -> None:
    first = convert_into(tmp_path / "out", {}, own_source)
    key = manifest_of(tmp_path / "out").listing_key
    first_image(own_source).touch()
    assert convert_into(tmp_path / "out", {}, own_source) == first
    assert manifest_of(tmp_path / "out").listing_key != key


def test_a_lost_shard_is_written_again(own_source: Path, tmp_path: Path) -> None:
    convert_into(tmp_path / "out", {}, own_source)
    before = file_hashes(tmp_path / "out")
    (tmp_path / "out" / "val-00000.arrow").unlink()
    convert_into(tmp_path / "out", {}, own_source)
    assert file_hashes(tmp_path / "out") == before


def test_another_data_set_is_refused(own_source: Path, tmp_path: Path) -> None:
    out_dir = tmp_path / "out"
    convert_into(out_dir, {}, own_source)
    before = file_hashes(out_dir)
    with pytest.raises(OwnershipError, match=r'holds another data set: policy: "strict" -> "skip"'):
        convert_into(out_dir, {"policy": "skip"}, own_source)
    train_list, names = own_source / "ImageSets/Main/train.txt", names_in(own_source, "train")
    for changed in (names[:-1], [*names[1:], names[0]]):
        train_list.write_text("\n".join(changed))
        with pytest.raises(OwnershipError, match="the source has changed"):
            convert_into(out_dir, {}, own_source)
    (own_source / "ImageSets/Main/val.txt").write_text("\n".join(names[:2]))
    train_list.write_text("\n".join(names))
    with pytest.raises(OwnershipError, match="val-00000.arrow would differ"):
        convert_into(out_dir, {}, own_source)
    assert file_hashes(out_dir) == before
    (out_dir / "manifest.json").write_text("{}")
    with pytest.raises(OwnershipError, match="holds something else"):
        convert_into(out_dir, {}, own_source)


def test_strict_fails_and_lists_all_errors(own_source: Path, tmp_path: Path) -> None:
    image = first_image(own_source)
    image.write_bytes(image.read_bytes()[:5000])
    xml_path = sorted((own_source / "Annotations").iterdir())[1]
    xml_path.write_text(xml_path.read_text().replace("<xmin>", "<xmin>-9", 1))
    with pytest.raises(DataError, match=r"error 1 of 2, all in .*findings.json"):
        convert_into(tmp_path / "out", {}, own_source)
    assert not (tmp_path / "out" / "manifest.json").exists()
    assert not list((tmp_path / "out").glob("*results*"))
    listed = json.loads((tmp_path / "out" / "findings.json").read_text())["findings"]
    assert {finding["image"] for finding in listed} == {
        f"JPEGImages/{image.name}",
        f"JPEGImages/{xml_path.stem}.jpg",
    }
    with pytest.raises(UsageError, match="no converted data set"):
        split_of(tmp_path / "out", "train")


@pytest.mark.parametrize(("policy", "images"), [("repair", 11), ("skip", 10)])
def test_repair_and_skip_count_findings(
    own_source: Path, tmp_path: Path, policy: str, images: int
) -> None:
    first_image(own_source).write_bytes(b"")
    xml_path = sorted((own_source / "Annotations").iterdir())[1]
    xml_path.write_text(xml_path.read_text().replace("<xmin>", "<xmin>-5", 1))
    config = {"policy": policy, "max_skipped": 0.2}
    result = convert_into(tmp_path / "out", config, own_source)
    assert result.metrics["images"] == images
    assert manifest_of(tmp_path / "out").findings == {
        "box_partly_outside": 1,
        "image_empty": 1,
    }
    if policy == "skip":
        with pytest.raises(DataError, match="2 of 12 images have errors"):
            convert_into(tmp_path / "other", config | {"max_skipped": 0.1}, own_source)


def drop_objects(source: Path) -> None:
    for name in names_in(source, "val"):
        (source / f"Annotations/{name}.xml").write_text("<annotation></annotation>")


INVALID: dict[str, tuple[Callable[[Path], object], dict[str, Any], str]] = {
    "empty list": (
        lambda s: (s / "ImageSets/Main/train.txt").write_text("\n"),
        {},
        "the train split has no images",
    ),
    "no objects": (
        drop_objects,
        {},
        r"the val split has no objects in 4 images; choose another split \(--val, .*remove this",
    ),
    "only crowds": (
        lambda s: write_coco(s / "all.json", [first_image(s).stem], [CROWD]),
        {"train": "all.json", "val": "all.json"},
        "are crowds, which",
    ),
}


@pytest.mark.parametrize("name", INVALID)
def test_invalid_data_sets(own_source: Path, tmp_path: Path, name: str) -> None:
    damage, config, message = INVALID[name]
    damage(own_source)
    with pytest.raises(DataError, match=message) as caught:
        convert_into(tmp_path / "out", config, own_source)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out" / "manifest.json").exists()
    assert not list((tmp_path / "out").glob(".partial*"))


def test_runs_share_a_data_set_by_its_listing_key(own_source: Path, tmp_path: Path) -> None:
    layout = Layout(str(tmp_path / "root"))
    first = convert.run_in(layout, ConvertConfig(), str(own_source))
    options = manifest_of(Path(first.metadata["uri"])).options
    key = listing_key(open_source(str(own_source)).files, options)
    assert first.metadata["uri"] == str(layout.dataset(key))
    assert convert.run_in(layout, ConvertConfig(), str(own_source)) == first
    assert convert.run_in(layout, ConvertConfig(policy="skip"), str(own_source)) != first


def limit_file_size() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))


def test_a_full_disk_ends_with_its_exit_code_and_no_manifest(
    own_source: Path, tmp_path: Path
) -> None:
    out_dir = tmp_path / "out"
    done = run_convert(own_source, "--out", out_dir, preexec_fn=limit_file_size)
    assert done.returncode == 75, done.stderr
    assert "the disk is full; free some space and repeat the command" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(out_dir.glob("*.arrow*"))
    assert not (out_dir / "manifest.json").exists()
    again = run_convert(own_source, "--out", out_dir)
    assert again.returncode == 0, again.stderr
    assert "8 train + 4 val images" in again.stdout


def test_the_output_of_the_command(all_formats: Path, tmp_path: Path) -> None:
    done = run_convert(
        all_formats, "--out", tmp_path / "out", "--format", "txt", "--policy", "skip"
    )
    assert done.returncode == 0, done.stderr
    assert "train: txt_list/train.txt" in done.stderr
    assert "100 train + 40 val images, 1,878 boxes, 3 classes, 2 shards, 3.0 MB" in done.stdout


def test_two_conversions_at_once_do_the_work_once(own_source: Path, tmp_path: Path) -> None:
    command = [SSD, "convert", own_source, "--out", tmp_path / "out"]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    logs = sorted(process.communicate()[0] for process in both)
    assert [process.returncode for process in both] == [0, 0], logs
    assert sum("8 train + 4 val images" in text for text in logs) == 1
    assert sum("already converted" in text for text in logs) == 1
    assert not list((tmp_path / "out").glob(".partial*"))
