"""The choice of format and splits."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from ssd_core.data.formats import READERS
from ssd_core.data.formats.dataset import SourceDataset
from ssd_core.errors import DataError, UsageError
from tests.data.formats.small_sources import read as read_folder


def read(folder: Path, **options: str | None) -> SourceDataset:
    return read_folder(folder, **options)[0]


def write_list(folder: Path, name: str, images: int, start: int = 0) -> None:
    lines = []
    for index in range(start, start + images):
        (folder / f"{index}.jpg").write_bytes(bytes([index % 256]) * (index + 1))
        lines.append(f"{index}.jpg 1,2,3,4,1")
    (folder / name).write_text("\n".join(lines))


def test_auto_logs_its_choice(bccd_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "ssd")
    assert read(bccd_dir).format == "voc"
    assert f"{bccd_dir}: format voc" in caplog.text
    assert "train: ImageSets/Main/train.txt" in caplog.text
    assert "val: ImageSets/Main/val.txt" in caplog.text


def test_auto_names_the_formats_it_did_not_choose(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "ssd")
    write_list(tmp_path, "train.txt", 4)
    content = {
        "images": [{"id": 1, "file_name": "0.jpg"}],
        "annotations": [],
        "categories": [{"id": 1, "name": "cat"}],
    }
    (tmp_path / "train.json").write_text(json.dumps(content))
    assert read(tmp_path, val="train.json").format == "coco"
    assert "format coco; also seen: txt (--format, convert.format)" in caplog.text
    assert read(tmp_path, format="txt").format == "txt"
    assert read(tmp_path, train="train.txt", val="train.txt").format == "txt"


@pytest.mark.parametrize(
    ("name", "content", "shown"),
    [
        ("notes.md", "nothing", r", among them notes.md \(7 bytes\)"),
        ("a.jpg", "", ""),
    ],
)
def test_no_known_format(tmp_path: Path, name: str, content: str, shown: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=f"known format in 1 files{shown}; expected: coco, voc"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "line 1 column 1: expecting value"),
        ("[]", "expected an object, got a list"),
        ('{"images": [], "categories": []}', "has no annotations"),
    ],
)
def test_the_fault_of_a_lone_json_is_named(tmp_path: Path, content: str, problem: str) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(DataError, match=f"^a.json: {problem}; expected COCO: an object with the"):
        read(tmp_path)


@pytest.mark.parametrize("name", READERS)
def test_a_chosen_format_is_not_found(tmp_path: Path, name: str) -> None:
    (tmp_path / "notes.md").write_text("nothing")
    with pytest.raises(UsageError, match=f"found no {name} training split.*--train"):
        read(tmp_path, format=name)


def test_unusual_names_have_to_be_chosen(tmp_path: Path) -> None:
    write_list(tmp_path, "one.txt", 3)
    write_list(tmp_path, "two.txt", 2, start=3)
    with pytest.raises(UsageError, match="no txt training split among one.txt, two.txt"):
        read(tmp_path)
    splits = read(tmp_path, train="one.txt", val="two.txt").splits
    assert (len(splits["train"]), len(splits["val"])) == (3, 2)


def test_a_source_for_evaluation_only_has_to_be_chosen(tmp_path: Path) -> None:
    write_list(tmp_path, "test.txt", 6)
    remedy = "no txt training split among test.txt; choose .*evaluation only: --val test.txt$"
    with pytest.raises(UsageError, match=remedy):
        read(tmp_path)
    for chosen in ("val", "test"):
        splits = read(tmp_path, **{chosen: "test.txt"}).splits
        assert {name: len(split) for name, split in splits.items()} == {chosen: 6}


def test_a_given_training_split_is_not_taken_for_evaluation(tmp_path: Path) -> None:
    write_list(tmp_path, "test.txt", 30)
    splits = read(tmp_path, train="test.txt").splits
    assert len(splits["train"]) + len(splits["val"]) == 30
    assert splits["val"].place == "test.txt"


def test_a_fifth_is_held_back_by_content(tmp_path: Path) -> None:
    write_list(tmp_path, "list.txt", 200)
    splits = read(tmp_path).splits
    held_back = {Path(entry.image_path).name for entry in splits["val"].images}
    expected = {
        path.name
        for path in tmp_path.glob("*.jpg")
        if int(hashlib.sha256(path.read_bytes()).hexdigest(), 16) < 2**256 / 5
    }
    assert held_back == expected
    assert 20 < len(held_back) < 60
    assert len(splits["train"]) == 200 - len(held_back)
    # An equal photograph under a new name stays on the same side, and nothing else moves.
    twin = min(held_back)
    shutil.copyfile(tmp_path / twin, tmp_path / "twin.jpg")
    with (tmp_path / "list.txt").open("a") as file:
        file.write("\ntwin.jpg 1,2,3,4,1\nmissing.jpg 1,2,3,4,1")
    again = read(tmp_path).splits
    names = {Path(entry.image_path).name for entry in again["val"].images}
    assert names == held_back | {"twin.jpg"}
    assert again["train"].num_listed == len(again["train"]) + 1  # the missing one


def test_holding_back_most_images_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_list(tmp_path, "list.txt", 4)
    for number, content in enumerate((b"a", b"b", b"b", b"b")):
        (tmp_path / f"{number}.jpg").write_bytes(content)
    splits = read(tmp_path).splits
    assert (len(splits["train"]), len(splits["val"])) == (1, 3)
    assert "choose the evaluation split: --val" in caplog.text


@pytest.mark.parametrize("num_images", [1, 2])
def test_holding_back_all_images_is_an_error(tmp_path: Path, num_images: int) -> None:
    write_list(tmp_path, "list.txt", num_images)
    for number in range(num_images):
        (tmp_path / f"{number}.jpg").write_bytes(b"x")
    with pytest.raises(DataError, match="list.txt: no image is left to train with.*--val"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("suffix", "code", "kept"),
    [(".JPG", "image_name_differs", 4), (".gone", "image_missing", 0)],
)
def test_names_are_resolved_before_images_are_held_back(
    tmp_path: Path, suffix: str, code: str, kept: int
) -> None:
    write_list(tmp_path, "list.txt", 4)
    for path in tmp_path.glob("*.jpg"):
        path.rename(path.with_suffix(suffix))
    shutil.copyfile(tmp_path / f"0{suffix}", tmp_path / "x.jpg")
    with (tmp_path / "list.txt").open("a") as file:
        file.write("\nx.jpg 1,2,3,4,1")
    (tmp_path / "x.jpg").rename(tmp_path / "X.jpg")
    for policy in ("strict", "repair"):
        dataset, findings = read_folder(tmp_path, policy=policy)
        assert findings.counts[code]
        assert sum(map(len, dataset.splits.values())) == kept + 1, findings.listed


def test_images_dropped_by_a_reader_stay_counted(tmp_path: Path) -> None:
    write_list(tmp_path, "list.txt", 20)
    with (tmp_path / "list.txt").open("a") as file:
        file.write("\n3.jpg 1,2,3\n4.jpg 1,2,3")
    splits = read(tmp_path, policy="skip").splits
    assert sum(map(len, splits.values())) == 20
    assert sum(split.num_listed for split in splits.values()) == 22


def test_a_few_images_still_give_one_for_evaluation(tmp_path: Path) -> None:
    write_list(tmp_path, "list.txt", 2)
    splits = read(tmp_path).splits
    assert (len(splits["train"]), len(splits["val"])) == (1, 1)
