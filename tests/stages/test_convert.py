"""The convert stage: real images, all formats, faulty data, second runs."""

import json
import resource
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ssd_core.config import ConvertConfig
from ssd_core.data.shards.manifest import listing_key
from ssd_core.data.sources import open_source
from ssd_core.errors import DataError, OwnershipError, UsageError
from ssd_core.stages import convert
from ssd_core.store.places import Places
from tests.datasets import convert_into, file_hashes, manifest_of, split_of

SSD = Path(sys.executable).with_name("ssd")
CLASSES = ["Platelets", "RBC", "WBC"]


def objects(xml_path: Path) -> list[tuple[int, list[int]]]:
    """Return label and corners of each object of a VOC file."""
    return [
        (
            CLASSES.index(element.findtext("name", "")) + 1,
            [
                int(element.findtext(f"bndbox/{key}", ""))
                for key in ("xmin", "ymin", "xmax", "ymax")
            ],
        )
        for element in ElementTree.parse(xml_path).iter("object")
    ]


@pytest.fixture(scope="module")
def all_formats(bccd_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the bundled images with VOC, COCO, YOLO and TXT annotations side by side."""
    folder = tmp_path_factory.mktemp("formats") / "all"
    shutil.copytree(bccd_dir, folder)
    (folder / "txt_list").mkdir()
    for split in ("train", "val"):
        names = (folder / f"ImageSets/Main/{split}.txt").read_text().split()
        labelled = {name: objects(folder / f"Annotations/{name}.xml") for name in names}
        lines = [
            " ".join([f"{name}.jpg", *(",".join(map(str, [*box, k])) for k, box in found)])
            for name, found in labelled.items()
        ]
        (folder / f"txt_list/{split}.txt").write_text("\n".join(lines) + "\n")
        flat = [(i, k, box) for i, found in enumerate(labelled.values()) for k, box in found]
        content = {
            "images": [
                {"id": i, "file_name": f"{name}.jpg", "width": 640, "height": 480}
                for i, name in enumerate(names)
            ],
            "annotations": [
                {
                    "id": number,
                    "image_id": i,
                    "category_id": k,
                    "bbox": [a, b, c - a, d - b],
                    "area": (c - a) * (d - b),
                    "iscrowd": 0,
                }
                for number, (i, k, (a, b, c, d)) in enumerate(flat, start=1)
            ],
            "categories": [{"id": k, "name": name} for k, name in enumerate(CLASSES, start=1)],
        }
        (folder / f"instances_{split}.json").write_text(json.dumps(content))
        (folder / "labels" / split).mkdir(parents=True)
        for name, found in labelled.items():
            rows = [
                f"{k - 1} {(a + c) / 1280} {(b + d) / 960} {(c - a) / 640} {(d - b) / 480}\n"
                for k, (a, b, c, d) in found
            ]
            (folder / "labels" / split / f"{name}.txt").write_text("".join(rows))
    return folder


def content_of(out_dir: Path) -> list[tuple[Any, ...]]:
    """Return everything except the image ids, which each format counts in its own way."""
    found = []
    for split in ("train", "val"):
        reader = split_of(out_dir, split)
        for record in reader.read(range(len(reader))):
            parts = record.annotations
            arrays = (parts.boxes, parts.labels, parts.areas, parts.is_crowd, parts.is_difficult)
            plain = (record.image_path, record.width, record.height, bytes(record.image))
            found.append((split, *plain, *(array.tolist() for array in (*arrays, parts.box_ids))))
    return found


@pytest.mark.parametrize("name", ["coco", "txt"])
def test_all_formats_give_the_same_shards(
    all_formats: Path, bccd_shards: Path, tmp_path: Path, name: str
) -> None:
    config = {"format": name} | ({"classes": CLASSES} if name == "txt" else {})
    result = convert_into(tmp_path / name, config, all_formats)
    assert result.metrics == {"images": 140, "boxes": 1878}
    assert content_of(tmp_path / name) == content_of(bccd_shards)
    assert manifest_of(tmp_path / name).classes == manifest_of(bccd_shards).classes


@pytest.mark.parametrize(("crowd", "expected"), [("keep", [False, True]), ("object", [False] * 2)])
def test_crowds_are_kept_or_become_objects(
    bccd_dir: Path, tmp_path: Path, crowd: str, expected: list[bool]
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    photo = sorted((bccd_dir / "JPEGImages").iterdir())[0]
    shutil.copyfile(photo, source / "a.jpg")
    plain = {"image_id": 1, "category_id": 1, "bbox": [1, 2, 30, 40]}
    content = {
        "images": [{"id": 1, "file_name": "a.jpg"}],
        "annotations": [plain | {"id": 1}, plain | {"id": 2, "iscrowd": 1}],
        "categories": [{"id": 1, "name": "cat"}],
    }
    (source / "all.json").write_text(json.dumps(content))
    config = {"train": "all.json", "val": "all.json", "crowd": crowd}
    convert_into(tmp_path / "out", config, source)
    (record,) = split_of(tmp_path / "out", "train").read([0])
    assert record.annotations.is_crowd.tolist() == expected
    assert manifest_of(tmp_path / "out").options["crowd"] == crowd


def test_yolo_gives_the_same_up_to_rounding(
    all_formats: Path, bccd_shards: Path, tmp_path: Path
) -> None:
    config = {"format": "yolo", "images": "JPEGImages", "classes": CLASSES}
    convert_into(tmp_path / "yolo", config, all_formats)
    both = zip(content_of(tmp_path / "yolo"), content_of(bccd_shards), strict=True)
    for (*ours, boxes, labels, areas, crowd, difficult, ids), expected in both:
        assert boxes == [pytest.approx(box, abs=1e-4) for box in expected[5]]
        assert areas == pytest.approx(expected[7], rel=1e-5)
        assert [*ours, labels, crowd, difficult, ids] == [
            *expected[:5],
            expected[6],
            *expected[8:],
        ]
    assert manifest_of(tmp_path / "yolo").classes[0].category_id == 0


def test_explicit_locations_equal_detected_ones(all_formats: Path, tmp_path: Path) -> None:
    explicit = {
        "format": "coco",
        "train": "instances_train.json:JPEGImages",
        "val": "instances_val.json:JPEGImages",
    }
    convert_into(tmp_path / "explicit", explicit, all_formats)
    convert_into(tmp_path / "found", {"format": "coco"}, all_formats)
    assert [split.shards for split in manifest_of(tmp_path / "explicit").splits.values()] == [
        split.shards for split in manifest_of(tmp_path / "found").splits.values()
    ]


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
    train_list = own_source / "ImageSets/Main/train.txt"
    names = train_list.read_text().split()
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
    xml_path.write_text(xml_path.read_text().replace("<xmin>", "<xmin>9", 1))
    with pytest.raises(DataError, match=r"error 1 of 2, all in .*findings.json"):
        convert_into(tmp_path / "out", {}, own_source)
    assert not (tmp_path / "out" / "manifest.json").exists()
    assert not list((tmp_path / "out").glob("*results*"))
    listed = json.loads((tmp_path / "out" / "findings.json").read_text())["findings"]
    assert {finding["image"] for finding in listed} == {
        f"JPEGImages/{image.name}",
        f"JPEGImages/{xml_path.stem}.jpg",
    }
    with pytest.raises(DataError, match="no converted data set"):
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
    for path in (source / "Annotations").iterdir():
        if path.stem in (source / "ImageSets/Main/val.txt").read_text():
            path.write_text("<annotation></annotation>")


def list_twice(source: Path) -> None:
    path = source / "ImageSets/Main/train.txt"
    path.write_text(f"{path.read_text()}\n{path.read_text().split()[3]}")


def only_crowds(source: Path) -> None:
    crowd = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 30, 40], "iscrowd": 1}
    image = {"id": 1, "file_name": first_image(source).name}
    categories = [{"id": 1, "name": "cat"}]
    content = {"images": [image], "annotations": [crowd], "categories": categories}
    (source / "all.json").write_text(json.dumps(content))


INVALID: dict[str, tuple[Callable[[Path], object], dict[str, Any], str]] = {
    "image missing": (lambda s: first_image(s).unlink(), {}, "image_missing"),
    "image empty": (lambda s: first_image(s).write_bytes(b""), {}, "image_empty"),
    "not an image": (lambda s: first_image(s).write_text("<html>"), {}, "image_not_an_image"),
    "image is a folder": (
        lambda s: (first_image(s).rename(s / "away"), first_image(s).with_name("x.jpg").mkdir()),
        {},
        "image_missing",
    ),
    "listed twice": (list_twice, {}, "image_twice"),
    "empty list": (
        lambda s: (s / "ImageSets/Main/train.txt").write_text("\n"),
        {},
        "the train split has no images",
    ),
    "no objects": (drop_objects, {}, "the val split has no objects in 4 images"),
    "too large": (lambda s: None, {"max_pixels": 1000}, "convert.max_pixels"),
    "only crowds": (only_crowds, {"train": "all.json", "val": "all.json"}, "are crowds, which"),
    "class unknown": (
        lambda s: None,
        {"classes": ["RBCs"]},
        "the train split has no objects in 8 images",
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


def test_equal_images_are_found(own_source: Path, tmp_path: Path) -> None:
    train, val = (
        (own_source / f"ImageSets/Main/{split}.txt").read_text().split()
        for split in ("train", "val")
    )
    for name in (train[3], val[1]):
        images = own_source / "JPEGImages"
        shutil.copyfile(images / f"{train[0]}.jpg", images / f"{name}.jpg")
    convert_into(tmp_path / "out", {}, own_source, workers=2)
    assert manifest_of(tmp_path / "out").findings == {
        "equal_images": 1,
        "equal_images_in_both_splits": 1,
    }


def test_damage_inside_an_image_is_found_by_decoding(own_source: Path, tmp_path: Path) -> None:
    path = first_image(own_source)
    image = bytearray(path.read_bytes())
    image[6000:6500] = bytes(range(250)) * 2
    path.write_bytes(image)
    convert_into(tmp_path / "plain", {}, own_source)
    assert manifest_of(tmp_path / "plain").findings == {}
    convert_into(tmp_path / "decoded", {"decode_check": True}, own_source)
    assert manifest_of(tmp_path / "decoded").findings == {"image_damaged": 1}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"polcy": "skip"}, "unknown key 'convert.polcy'; did you mean 'convert.policy'"),
        ({"policy": "lenient"}, 'convert.policy: .*got "lenient"'),
        ({"shard_bytes": 0}, "convert.shard_bytes: "),
    ],
)
def test_invalid_options(
    bccd_dir: Path, tmp_path: Path, config: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        convert_into(tmp_path / "out", config, bccd_dir)
    assert not (tmp_path / "out").exists()


def test_output_inside_the_source_is_refused(own_source: Path) -> None:
    with pytest.raises(UsageError, match="is inside the source"):
        convert_into(own_source / "shards", {}, own_source)


def test_output_that_is_a_file_is_refused(own_source: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot write there"):
        convert_into(tmp_path / "file", {}, own_source)


def test_runs_share_a_data_set_by_its_listing_key(own_source: Path, tmp_path: Path) -> None:
    places = Places(str(tmp_path / "root"))
    first = convert.run_in(places, ConvertConfig(), str(own_source))
    key = listing_key(open_source(str(own_source)).files, read_options(first))
    assert first.metadata["uri"] == str(places.dataset(key))
    assert convert.run_in(places, ConvertConfig(), str(own_source)) == first
    assert convert.run_in(places, ConvertConfig(policy="skip"), str(own_source)) != first


def read_options(result: Any) -> dict[str, Any]:
    return manifest_of(Path(result.metadata["uri"])).options


def run_ssd(*words: str | Path, limit: int | None = None) -> subprocess.CompletedProcess[str]:
    def limit_file_size() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return subprocess.run(
        [SSD, "convert", *map(str, words)],
        capture_output=True,
        text=True,
        preexec_fn=limit_file_size,  # noqa: PLW1509 - this process runs no threads here
    )


def test_a_full_disk_ends_with_its_exit_code_and_no_manifest(
    own_source: Path, tmp_path: Path
) -> None:
    out_dir = tmp_path / "out"
    done = run_ssd(own_source, "--out", out_dir, limit=100_000)
    assert done.returncode == 75, done.stderr
    assert "the disk is full; free some space and repeat the command" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(out_dir.glob("*.arrow*"))
    assert not (out_dir / "manifest.json").exists()
    again = run_ssd(own_source, "--out", out_dir)
    assert again.returncode == 0, again.stderr
    assert "8 train + 4 val images" in again.stderr


def test_the_output_of_the_command(all_formats: Path, tmp_path: Path) -> None:
    done = run_ssd(all_formats, "--out", tmp_path / "out", "--format", "txt", "--policy", "skip")
    assert done.returncode == 0, done.stderr
    assert "train: txt_list/train.txt" in done.stderr
    assert "100 train + 40 val images, 1878 boxes, 3 classes, 2 shards, 3.0 MB" in done.stderr
    missing = run_ssd(tmp_path / "nowhere", "--out", tmp_path / "x")
    assert missing.returncode == 2
    assert missing.stderr.count("\n") == 1
    (tmp_path / "empty").mkdir()
    unknown = run_ssd(tmp_path / "empty", "--out", tmp_path / "x")
    assert unknown.returncode == 3
    assert "no annotations of a known format" in unknown.stderr


def test_two_conversions_at_once_do_the_work_once(own_source: Path, tmp_path: Path) -> None:
    command = [SSD, "convert", own_source, "--out", tmp_path / "out"]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    logs = sorted(process.communicate()[1] for process in both)
    assert [process.returncode for process in both] == [0, 0], logs
    assert sum("8 train + 4 val images" in text for text in logs) == 1
    assert sum("already converted" in text for text in logs) == 1
    assert not list((tmp_path / "out").glob(".partial*"))
