"""YOLO folders and lists, good and bad."""

import re
from functools import partial
from pathlib import Path

import pytest

from ssd_core.data.formats import yolo
from ssd_core.data.formats.dataset import SourceDataset
from ssd_core.data.sources.folder import FolderSource
from ssd_core.errors import DataError, UsageError
from tests.data.formats.small_sources import put
from tests.data.formats.small_sources import read as read_folder

LONG = "9" * 5000
ROW = "0 0.5 0.5 0.2 0.4\n"
read = partial(read_folder, format="yolo")


def pairs(dataset: SourceDataset) -> dict[str, list[str]]:
    return {
        name: [entry.image_path for entry in split.images] for name, split in dataset.splits.items()
    }


def pair(train: str, val: str, images: str = "images", labels: str = "labels") -> dict[str, str]:
    """Return a training image a and an evaluation image b with their labels."""
    folders = {"a": train, "b": val}
    return {
        **{f"{folder}/{name}.jpg": "" for name, folder in folders.items()},
        **{f"{f.replace(images, labels)}/{name}.txt": ROW for name, f in folders.items()},
    }


LAYOUTS: dict[str, dict[str, str]] = {
    "images and labels": pair("images/train", "images/val"),
    "as exported by annotation services": {
        "data.yaml": "train: ../train/images\nval: ../valid/images\nnames: ['cat']",
        **pair("train/images", "valid/images"),
        "test/images/c.jpg": "",
        "test/labels/c.txt": ROW,
    },
    "the same without data.yaml": pair("train/images", "valid/images"),
    "images without objects come first": {
        **{f"images/train/0{n:02}.jpg": "" for n in range(60)},
        **{f"labels/train/0{n:02}.txt": "" for n in range(60)},
        **pair("images/train", "images/val"),
    },
    "beside each other": {"train/a.jpg": "", "train/a.txt": ROW, "val/b.PNG": "", "val/b.txt": ROW},
    "root of another machine": {
        "coco.yaml": "path: /datasets/coco\ntrain: images/one\nval: [images/two]\nnames: {0: cat}",
        **pair("images/one", "images/two"),
    },
    **{
        f"places of another machine, {root}": {
            "data.yaml": f"train: {root}images/x\nval: {root}images/y\nnames: [cat]",
            **pair("images/x", "images/y"),
        }
        for root in ("/home/me/set/", "../../")
    },
    **{
        f"places of Windows, {root}": {
            "data.yaml": f"train: {root}images\\x\nval: {root}images\\y\nnames: [cat]",
            **pair("images/x", "images/y"),
        }
        for root in ("C:\\set\\", "")
    },
    "folders with capitals": pair("Images/train", "Images/val", "Images", "Labels"),
    **{
        f"{images} and {labels} for {written}": {
            "data.yaml": f"train: {written}/x\nval: {written}/y\nnames: [cat]",
            **pair(f"{images}/x", f"{images}/y", images, labels),
        }
        for images, labels, written in (
            ("Images", "Labels", "images"),
            ("Images", "labels", "images"),
            ("images", "Labels", "IMAGES"),
            ("IMAGES", "LABELS", "images"),
        )
    },
    "root below the file": {
        "data.yaml": "path: photos\ntrain: images/x\nval: images/y\nnames: {0: cat}",
        **pair("photos/images/x", "photos/images/y"),
    },
    "lists of images": {
        "train.txt": "./images/a.jpg\r\n",
        "val.txt": "images/b.jpg",
        "obj.names": "cat",
        **pair("images", "images"),
    },
    "lists with paths from elsewhere": {
        "data/train.txt": "data/obj/a.jpg\n",
        "data/test.txt": "data/obj/b.jpg\n",
        "data/obj.names": "cat\n",
        **pair("data/obj", "data/obj"),
    },
    "exported by CVAT, for a folder above": {
        "obj.data": "classes = 1\ntrain = data/train.txt\nnames = data/obj.names\n",
        "obj.names": "cat",
        "train.txt": "data/obj_train_data/c.jpg\ndata/obj_train_data/a.jpg\n",
        "valid.txt": "data/obj_valid_data/b.jpg\n",
        "obj_train_data/c.jpg": "",
        "obj_train_data/c.txt": "",
        **pair("obj_train_data", "obj_valid_data"),
    },
    "an image named like a file of names": {
        **pair("images/train", "images/val"),
        "images/train/NAMES.jpg": "",
        "labels/train/NAMES.txt": "",
    },
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_usual_layouts_are_found(tmp_path: Path, name: str) -> None:
    put(tmp_path, LAYOUTS[name])
    dataset, findings = read(tmp_path, format="auto")
    assert dataset.format == "yolo"
    assert not findings.counts
    found = pairs(dataset)
    stems = {split: [Path(path).stem for path in paths] for split, paths in found.items()}
    assert (stems["train"][-1:], stems["val"]) == (["a"], ["b"])
    for split in dataset.splits.values():
        assert len(split.annotations) == 1


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ("images/a.jpg images/a.png labels/a.txt", ["image_ambiguous"]),
        ("images/A.JPG labels/a.txt", ["image_name_differs", "images/A.JPG"]),
        ("images/a.jpg labels/A.txt", ["image_name_differs", "images/a.jpg"]),
    ],
)
def test_stems_of_images_and_labels(tmp_path: Path, files: str, expected: list[str]) -> None:
    put(tmp_path, {name: ROW if name.endswith(".txt") else "" for name in files.split()})
    put(tmp_path, {"images/b.jpg": "", "labels/b.txt": ROW})
    dataset, findings = read(tmp_path, train="images", val="images", policy="repair")
    found = sorted({finding.code for finding in findings.listed})
    assert found + pairs(dataset)["train"] == [*expected, "images/b.jpg"]
    assert len(dataset.splits["train"].annotations) == len(expected)


def test_rows_become_boxes(tmp_path: Path) -> None:
    text = "\ufeff1\t0.5 0.5 0.2 0.4\r\n\n# note\n0 .25 0.5 0.5 1\n0 1e-1 0.5 0.2 0.500001"
    put(tmp_path, {"images/a.jpg": "", "labels/a.txt": text, "classes.txt": "cat\ndog\n"})
    dataset, findings = read(tmp_path, train="labels", val="images")
    assert not findings.counts
    assert [(c.name, c.category_id) for c in dataset.classes] == [("cat", 0), ("dog", 1)]
    sample = dataset.splits["train"].sample(0)
    assert sample.is_normalised
    assert sample.place == "labels/a.txt"
    assert sample.annotations.labels.tolist() == [2, 1, 1]
    assert sample.annotations.boxes.ravel().tolist() == pytest.approx(
        [0.4, 0.3, 0.6, 0.7, 0, 0, 0.5, 1, 0, 0.2499995, 0.2, 0.7500005], abs=1e-6
    )


def test_rounding_leaves_no_box_outside(tmp_path: Path) -> None:
    put(tmp_path, {"images/a.jpg": "", "labels/a.txt": "0 0.333333 0.5 0.666667 1.0\n"})
    dataset, _ = read(tmp_path, train="images", val="images")
    assert dataset.splits["train"].annotations.boxes.min() == 0
    assert dataset.splits["train"].annotations.boxes.max() == 1


def test_images_without_labels_are_kept_and_counted(tmp_path: Path) -> None:
    put(tmp_path, {"train/images/a.jpg": "", "train/labels/a.txt": ROW, "train/images/b.jpg": ""})
    put(tmp_path, {"train/images/c.jpg": "", "train/labels/c.txt": ""})
    dataset, findings = read(tmp_path, train="train", val="train")
    assert [len(dataset.splits["train"].sample(i).annotations) for i in range(3)] == [1, 0, 0]
    assert findings.counts == {"labels_missing": 2}
    assert findings.listed[0].place == "train/images/b.jpg"


def test_labels_without_image_are_listed(tmp_path: Path) -> None:
    put(tmp_path, {"images/a.jpg": "", "labels/a.txt": ROW, "labels/z.txt": ROW})
    dataset, findings = read(tmp_path, train="labels", val="labels")
    assert pairs(dataset)["train"] == ["images/a.jpg"]
    assert (findings.listed[0].code, findings.listed[0].image) == ("image_missing", "images/z.jpg")
    assert dataset.splits["train"].num_listed == 2


@pytest.mark.parametrize(
    ("row", "code", "detail"),
    [
        ("0 0.5 0.5 0.2", "object_malformed", "'0 0.5 0.5 0.2' has 4 columns, expected class x"),
        ("0 0.5 0.5 0.2 0.4 0.9", "object_malformed", "has 6 columns, expected class x y width"),
        ("0 0 0 .1 0 .1 1.1", "object_malformed", r"in 0\.\.1"),
        ("0,0.5,0.5,0.2,0.4", "object_malformed", "has 1 columns"),
        ("cat 0.5 0.5 0.2 0.4", "object_malformed", "'cat 0.5 0.5 0.2 0.4' is not class x y"),
        ("0 nan 0.5 0.2 0.4", "object_malformed", r"is not class x y width height in 0\.\.1"),
        ("0 inf 0.5 0.2 0.4", "object_malformed", r"in 0\.\.1"),
        ("0 120 80 30 40", "object_malformed", r"in 0\.\.1 \(pixels\?\)"),
        ("0 -0.1 0.5 0.2 0.4", "object_malformed", r"in 0\.\.1"),
        ("2 0.5 0.5 0.2 0.4", "class_unknown", "class 2, expected 0 to 1"),
        ("-1 0.5 0.5 0.2 0.4", "class_unknown", "class -1, expected 0 to 1"),
        ("0.5 0.5 0.5 0.2 0.4", "class_unknown", "class 0.5, expected 0 to 1"),
        ("nan 0.5 0.5 0.2 0.4", "class_unknown", "class nan, expected 0 to 1"),
        ("1 0.5 0.5 0.2 0.4", "row_twice", "the same object is already at labels/a.txt: line 1"),
    ],
)
def test_bad_rows(tmp_path: Path, row: str, code: str, detail: str) -> None:
    put(tmp_path, {"images/a.jpg": "", "labels/a.txt": f"1 0.5 0.5 0.2 0.4\n{row}\n"})
    put(tmp_path, {"images/b.jpg": "", "labels/b.txt": ROW, "classes.txt": "cat\ndog"})
    options = {"train": "labels", "val": "labels"}
    dataset, findings = read(tmp_path, policy="repair", **options)
    assert findings.counts == {code: 2}
    assert findings.listed[0].place == "labels/a.txt: line 2"
    assert findings.listed[0].image == "images/a.jpg"
    assert re.search(detail, findings.listed[0].detail)
    assert dataset.splits["train"].annotations.labels.tolist() == [2, 1]
    dataset, _ = read(tmp_path, policy="skip", **options)
    assert pairs(dataset)["train"] == ["images/b.jpg"]


def test_labels_may_all_be_empty(tmp_path: Path) -> None:
    put(tmp_path, {"data.yaml": "train: images\nval: images\nnames: [cat]"})
    put(tmp_path, {"images/a.jpg": "", "labels/a.txt": ""})
    dataset, findings = read(tmp_path, format="auto")
    assert (dataset.format, len(dataset.splits["train"])) == ("yolo", 1)
    assert not findings.counts


def test_negative_sizes_are_left_to_the_check_of_boxes(tmp_path: Path) -> None:
    put(tmp_path, {"images/a.jpg": "", "labels/a.txt": "0 0.5 0.5 -0.25 0.5\n"})
    dataset, findings = read(tmp_path, train="labels", val="labels")
    assert not findings.counts
    assert dataset.splits["train"].annotations.boxes.tolist() == [[0.625, 0.25, 0.375, 0.75]]


def test_labels_that_are_not_text(tmp_path: Path) -> None:
    put(tmp_path, {"images/a.jpg": "", "labels/a.txt": ROW, "images/b.jpg": ""})
    put(tmp_path, {"labels/b.txt": b"0 0.5 \xff", "labels/c.txt": ROW.encode("utf-16")})
    dataset, findings = read(tmp_path, train="labels", val="labels", policy="repair")
    assert findings.counts["annotations_unreadable"] == 4
    assert findings.listed[1].place == "labels/c.txt"
    assert findings.listed[1].detail == "is text in UTF-16, expected UTF-8"
    assert dataset.splits["train"].num_listed == 3
    assert len(dataset.splits["train"]) == 1


def test_outlines_become_boxes_under_repair(tmp_path: Path) -> None:
    put(tmp_path, {"images/a.jpg": "", "labels/a.txt": "0 0.5 0 .1 0 .1 .25 .3 .125\n"})
    dataset, findings = read(tmp_path, train="labels", val="labels", policy="repair")
    assert findings.counts == {"box_from_outline": 2}
    assert findings.listed[0].place == "labels/a.txt: line 1"
    found = dataset.splits["train"].annotations.boxes.ravel().tolist()
    assert found == pytest.approx([0.1, 0, 0.5, 0.25])
    assert read(tmp_path, train="labels", val="labels")[1].stops


def test_classes_without_names_are_their_numbers(tmp_path: Path) -> None:
    put(tmp_path, {"images/a.jpg": "", "labels/a.txt": f"2 0.5 0.5 0.2 0.4\n{ROW}"})
    options = {"train": "labels", "val": "labels"}
    dataset, _ = read(tmp_path, **options)
    assert [info.name for info in dataset.classes] == ["0", "1", "2"]
    dataset, findings = read(tmp_path, classes=("2=owl",), **options)
    assert [(info.name, info.category_id) for info in dataset.classes] == [("owl", 2)]
    assert findings.counts == {"class_left_out": 2}
    _, findings = read(tmp_path, classes=("cat", "dog"), **options)
    assert findings.counts["class_unknown"] == 2
    put(tmp_path, {"data.yaml": "nc: 4"})
    assert [info.name for info in read(tmp_path, **options)[0].classes] == ["0", "1", "2", "3"]


def test_a_subset_of_named_classes(tmp_path: Path) -> None:
    put(tmp_path, LAYOUTS["images and labels"] | {"data.yaml": "names: [cat, dog]"})
    dataset, findings = read(tmp_path, classes=("dog=hound",))
    assert [(info.name, info.category_id) for info in dataset.classes] == [("hound", 1)]
    assert findings.counts["class_left_out"] == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train: images/train\nnames: [[a]]", "the name of class 0 is not text"),
        ("train: images/train\nnames: [cat, '']", "the name of class 1 is not text"),
        ("train: images/train\nnames: {a: cat}", "'a' is not a class number"),
        ("train: images/train\nnames: {-1: cat}", "'-1' is not a class number"),
        ("train: images/train\nnames: {0x1: cat}", "'0x1' is not a class number"),
        (f"train: images/train\nnames: {{? {LONG} : cat}}", f"'{LONG[:20]}' is not a class number"),
        ("train: {a: 5}\nnames: [cat]", "'train' is not a path"),
        ("train: 5\nnames: [cat]", "'5' does not exist in"),
        ("train: images/train\nnames: []\nnc: 0", "nc: '0' is not a number of classes"),
        ("train: images/train\nnc: 1000000000000", "nc: '1000000000000' is not a number"),
        (f"train: images/train\nnc: 0x{LONG}", f"'0x{LONG[:18]}' is not a number"),
        ("train: images/train\nnc: true", "nc: 'true' is not a number"),
        ("train: nowhere\nnames: [cat]", "'nowhere' does not exist in .*--train"),
        ("train: ../../etc\nnames: [cat]", "'../../etc' does not exist"),
        ("train: [images/train\nnames: [cat]", "data.yaml: line 2 column"),
        ("a: &a [x]\ntrain: *a", r"has references \(\*name\)"),
        ("train: " + "[" * 50_000 + "]" * 50_000, "nested too deeply"),
        ("train: " + "{a: " * 20_000, "nested too deeply"),
        ("train:\n" + "- " * 50_000, "nested too deeply"),
        ("train: 2020-13-45", "'2020-13-45' does not exist"),
        (b"train: \xff", "is not text, expected UTF-8"),
        ("train: \0", "is not YAML"),
    ],
)
def test_bad_descriptions(tmp_path: Path, text: str | bytes, message: str) -> None:
    put(tmp_path, LAYOUTS["images and labels"] | {"data.yaml": text})
    with pytest.raises(DataError, match=message) as caught:
        read(tmp_path, train="data.yaml:train", val="images/val")
    assert "\n" not in str(caught.value)


def test_all_values_of_a_description_are_text(tmp_path: Path) -> None:
    put(tmp_path, LAYOUTS["images and labels"])
    text = "train: images/train\nval: images/val\nx: !!timestamp x\ny: !!int z\n"
    put(tmp_path, {"data.yaml": f"{text}names: [yes, 1, null]"})
    assert [info.name for info in read(tmp_path)[0].classes] == ["yes", "1", "null"]


def test_unrelated_yaml_is_ignored(tmp_path: Path) -> None:
    put(tmp_path, LAYOUTS["images and labels"] | {"data.yaml": "names: [cat]"})
    put(tmp_path, {"a.yaml": "x: &x [1]\ny: *x", "b.yaml": "x: ["})
    dataset, _ = read(tmp_path)
    assert [info.name for info in dataset.classes] == ["cat"]


def test_places_that_do_not_exist(tmp_path: Path) -> None:
    put(tmp_path, LAYOUTS["images and labels"])
    put(tmp_path, {"data.yaml": "train: images/train", "empty/x": ""})
    for place, message in {
        "data.yaml:val": "data.yaml has no 'val'; found: train",
        "nowhere": "--train nowhere: this folder does not exist in",
        "../images": "leaves the source",
        "empty": "this folder has no images",
    }.items():
        with pytest.raises(UsageError, match=message):
            read(tmp_path, train=place)


@pytest.mark.parametrize(
    ("description", "names", "codes"),
    [
        ("names: [cat, dog, cat]", ["cat", "dog"], {"class_name_twice": 1}),
        ("names: [cat, Cat]\nnc: 3", ["cat", "Cat"], {"class_count_differs": 1}),
        ("names: {0: cat, 5: dog}\nnc: 2", ["cat", "dog"], {}),
        ("nc: 2", ["0", "1"], {}),
    ],
)
def test_names_and_their_number(
    tmp_path: Path, description: str, names: list[str], codes: dict[str, int]
) -> None:
    put(tmp_path, LAYOUTS["images and labels"])
    put(tmp_path, {"data.yaml": f"train: images/train\nval: images/val\n{description}\n"})
    dataset, findings = read(tmp_path, policy="repair")
    assert [info.name for info in dataset.classes] == names
    assert findings.counts == codes
    assert {finding.place for finding in findings.listed} <= {"data.yaml"}


def test_splits_may_number_their_classes_differently(tmp_path: Path) -> None:
    put(tmp_path, LAYOUTS["images and labels"])
    put(tmp_path, {"labels/train/classes.txt": "cat\ndog", "labels/val/classes.txt": "dog\ncat"})
    dataset, findings = read(tmp_path)
    assert not findings.counts
    labels = {name: split.annotations.labels.tolist() for name, split in dataset.splits.items()}
    assert labels == {"train": [1], "val": [2]}
    (tmp_path / "labels/val/classes.txt").unlink()
    assert read(tmp_path)[0].splits["val"].annotations.labels.tolist() == [1]


def test_names_must_agree(tmp_path: Path) -> None:
    put(tmp_path, LAYOUTS["images and labels"])
    put(tmp_path, {"labels/train/classes.txt": "cat", "labels/val/classes.txt": "dog"})
    differ = "val/classes.txt: its classes differ from those of labels/train/classes.txt: 0 'dog"
    with pytest.raises(DataError, match=differ):
        read(tmp_path)
    put(tmp_path, {"labels/train/classes.txt": "cat\n\ndog"})
    with pytest.raises(DataError, match="classes.txt: line 2 is empty"):
        read(tmp_path)


def test_other_text_is_not_yolo(tmp_path: Path) -> None:
    put(tmp_path, {"list.txt": "a.jpg 1,2,3,4,1\n", "notes.txt": "5 people\n", "a.jpg": ""})
    put(tmp_path, {"config.yaml": "train: here\n"})
    assert yolo.find_places(FolderSource(tmp_path)) == []
