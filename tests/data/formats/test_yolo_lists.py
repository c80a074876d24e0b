"""YOLO images that are listed in a file, or lie elsewhere than their labels."""

from pathlib import Path

from ssd_core.data.formats import yolo
from ssd_core.data.sources.folder import FolderSource
from tests.data.formats.small_sources import put
from tests.data.formats.test_yolo import LAYOUTS, ROW, pairs, read


def test_a_list_of_images_without_labels_is_no_split(tmp_path: Path) -> None:
    put(tmp_path, LAYOUTS["lists of images"])
    (tmp_path / "val.txt").rename(tmp_path / "all.txt")
    put(
        tmp_path, {"test.txt": "images/c.jpg\nimages/d.jpg", "images/c.jpg": "", "images/d.jpg": ""}
    )
    assert sorted(yolo.find_places(FolderSource(tmp_path))) == ["all.txt", "train.txt"]


def test_images_may_be_elsewhere(tmp_path: Path) -> None:
    put(tmp_path, {"photos/a.jpg": "", "marks/a.txt": ROW, "list.txt": "a.jpg\n"})
    dataset, findings = read(tmp_path, train="marks", val="list.txt", images="photos")
    assert pairs(dataset) == {"train": ["photos/a.jpg"], "val": ["photos/a.jpg"]}
    put(tmp_path, {"other/a.jpg": "", "other/a.txt": ROW})
    dataset, _ = read(tmp_path, train="list.txt", val="list.txt", images="other")
    assert pairs(dataset)["val"] == ["other/a.jpg"]


def test_all_lines_of_a_list_are_listed(tmp_path: Path) -> None:
    lines = "images/a.jpg\n\n./images/a.jpg\n/etc/passwd.jpg\n"
    put(tmp_path, LAYOUTS["lists of images"] | {"train.txt": lines})
    dataset, findings = read(tmp_path)
    assert pairs(dataset)["train"] == ["images/a.jpg"]
    assert dataset.splits["train"].num_listed == 3
    assert [(finding.code, finding.place) for finding in findings.listed] == [
        ("labels_missing", "train.txt: line 4"),
        ("image_twice", "train.txt: line 3"),
        ("image_path_unsafe", "train.txt: line 4"),
    ]
