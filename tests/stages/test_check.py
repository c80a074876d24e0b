"""The check stage and its command."""

import contextlib
import json
import shutil
from pathlib import Path

import pytest

from ssd_core.config import ConvertConfig
from ssd_core.errors import UsageError
from ssd_core.stages import check, convert
from ssd_core.store import LocalDirectory
from tests.commands import call_ssd
from tests.datasets import convert_into, manifest_of, split_of


@pytest.fixture
def source(few_images: Path, tmp_path: Path) -> Path:
    """Return a copy of a few images, which tests damage."""
    return Path(shutil.copytree(few_images, tmp_path / "source"))


def names(source: Path, split: str = "train") -> list[str]:
    return (source / f"ImageSets/Main/{split}.txt").read_text().split()


def image(source: Path, index: int) -> Path:
    return source / f"JPEGImages/{names(source)[index]}.jpg"


def annotation(source: Path, index: int) -> Path:
    return source / f"Annotations/{names(source)[index]}.xml"


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def damage_pixels(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[6000:6500] = bytes(range(250)) * 2
    path.write_bytes(content)


def test_a_check_finds_what_a_conversion_finds(source: Path, tmp_path: Path) -> None:
    damage_pixels(image(source, 0))
    change(annotation(source, 1), "<ymax>", "<ymax>-")
    annotation(source, 2).unlink()
    codes = ("image_damaged", "box_corners_exchanged", "box_partly_outside", "annotations_missing")
    expected = dict.fromkeys(codes, 1)
    config = ConvertConfig(decode_check=True)
    checked = check.run(config, str(source), LocalDirectory(tmp_path / "out"))
    assert dict(checked.findings.counts) == expected
    written = json.loads((tmp_path / "out/findings.json").read_text())
    assert written["counts"] == expected
    assert sum(finding["count"] for finding in written["findings"]) == 4
    page = (tmp_path / "out/findings.html").read_text()
    assert all(code in page for code in expected)
    results = json.loads((tmp_path / "out/results.json").read_text())
    assert (results["errors"], results["warnings"]) == (3, 1)
    convert_into(tmp_path / "shards", {"policy": "repair", "decode_check": True}, source)
    manifest = manifest_of(tmp_path / "shards")
    assert manifest.findings == expected
    assert {name: split["images"] for name, split in results["splits"].items()} == {
        name: split.images for name, split in manifest.splits.items()
    }


def test_the_page_of_a_good_data_set_has_no_findings(source: Path, tmp_path: Path) -> None:
    check.run(ConvertConfig(), str(source), LocalDirectory(tmp_path / "out"))
    assert "No findings: every image" in (tmp_path / "out/findings.html").read_text()


def test_nothing_is_written_without_out(source: Path) -> None:
    before = sorted(source.rglob("*"))
    assert check.run(ConvertConfig(), str(source)).findings.num_errors == 0
    assert sorted(source.rglob("*")) == before


@pytest.mark.parametrize("format", ["auto", "mindrecord"])
def test_mindrecord_files_are_left_to_the_conversion(tmp_path: Path, format: str) -> None:
    for name in ("ssd.mindrecord0", "ssd.mindrecord0.db"):
        (tmp_path / name).write_bytes(b"rows")
    with pytest.raises(UsageError, match="checked as they are adopted: 'ssd convert SOURCE --sh"):
        check.run(ConvertConfig(format=format), str(tmp_path))


def test_an_unreadable_source_is_a_finding(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source/train.json").write_text('{"images": [], "annotations": [')
    checked = check.run(ConvertConfig(), str(tmp_path / "source"), LocalDirectory(tmp_path / "out"))
    assert checked.findings.counts == {"source_unusable": 1}
    assert "train.json: line 1 column 32" in checked.findings.listed[0].detail
    assert "train.json" in (tmp_path / "out/findings.html").read_text()
    (tmp_path / "empty").mkdir()
    (finding,) = check.run(ConvertConfig(), str(tmp_path / "empty")).findings.listed
    assert finding.place == str(tmp_path / "empty")
    assert finding.detail.startswith("no annotations of a known format")


def test_no_training_split_is_needed(source: Path, tmp_path: Path) -> None:
    (source / "ImageSets/Main/train.txt").unlink()
    checked = check.run(ConvertConfig(), str(source), LocalDirectory(tmp_path / "out"))
    assert list(checked.splits) == ["val"]
    assert (tmp_path / "out/findings.html").exists()


def test_the_page_escapes_text_of_the_data_set(source: Path, tmp_path: Path) -> None:
    hostile = "<script>alert(1)</script>.jpg"
    list_path = source / "ImageSets/Main/train.txt"
    list_path.write_text(f"{list_path.read_text()}\n<img src=x onerror=y>\n")
    image(source, 0).rename(source / "JPEGImages" / hostile.replace("/", "-"))
    check.run(ConvertConfig(), str(source), LocalDirectory(tmp_path / "out"))
    page = (tmp_path / "out/findings.html").read_text()
    assert "<script" not in page
    assert "<img" not in page
    assert "&lt;script&gt;" in page


def test_the_command_prints_the_findings_and_exits_with_3(source: Path, tmp_path: Path) -> None:
    image(source, 0).write_bytes(b"")
    shutil.copy(image(source, 1), image(source, 2))
    done = call_ssd("check", source, "--out", tmp_path / "out")
    assert done.returncode == 3
    lines = done.stdout.splitlines()
    assert lines[0].startswith("voc: 7 train + 4 val images, ")
    assert lines[1] == "error        1 x image_empty"
    assert lines[2].strip().startswith(f"Annotations/{names(source)[0]}.xml: ")
    assert lines[3] == "warning      1 x equal_images"
    page = tmp_path / "out/findings.html"
    assert lines[-2:] == ["1 error, 1 warning", str(page)]
    assert f"error: {source}: 1 error, 1 warning; see {page}" in done.stderr


def test_the_command_exits_with_0_for_warnings(source: Path) -> None:
    shutil.copy(image(source, 1), image(source, 2))
    done = call_ssd("check", source)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "0 errors, 1 warning"


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 99, b"{", b"<annotation>", b"\xff\xfe{\0", b"0 0 0 0 0"]
)
@pytest.mark.parametrize("name", ["train.json", "train/a.xml", "train.txt", "data.yaml", "a.jpg"])
def test_an_unreadable_file_is_reported(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / name).write_bytes(content)
    for format_name in ("auto", "coco", "voc", "yolo", "txt"):
        config = ConvertConfig(format=format_name)  # type: ignore[arg-type]
        with contextlib.suppress(UsageError):
            assert check.run(config, str(tmp_path)).findings.num_errors


def test_strange_names_are_kept(few_images: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    shutil.copy(min((few_images / "JPEGImages").iterdir()), source / "my\ncat.jpg")
    names = ["my\ncat.jpg", "\ud800.jpg", "\x1b[31m.jpg", "../up.jpg", "x" * 300]
    content = {
        "images": [{"id": i, "file_name": name} for i, name in enumerate(names)],
        "annotations": [{"id": 1, "image_id": 0, "category_id": 7, "bbox": [1, 1, 9, 9]}],
        "categories": [{"id": 7, "name": "a\tcat"}],
    }
    (source / "all.json").write_text(json.dumps(content))
    config = ConvertConfig(train="all.json", val="all.json", policy="repair")
    checked = check.run(config, str(source), LocalDirectory(tmp_path / "out"))
    assert checked.findings.counts == {
        "image_missing": 3,
        "image_path_unsafe": 1,
        "image_in_both_splits": 1,
    }
    assert all(line.isprintable() for line in check.describe(checked))
    convert.run(config, str(source), LocalDirectory(tmp_path / "shards"))
    (record,) = split_of(tmp_path / "shards", "train").read([0])
    assert record.image_path == "my\ncat.jpg"
    assert manifest_of(tmp_path / "shards").classes[0].name == "a\tcat"
