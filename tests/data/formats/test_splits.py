"""Names of splits and folders that people use."""

import unicodedata

import pytest
from PIL import Image

from ssd_core.config import ConvertConfig
from ssd_core.data.decode import FORMATS
from ssd_core.data.formats.names import find_images
from ssd_core.data.formats.splits import choose_splits
from ssd_core.data.sources.base import IMAGE_SUFFIXES
from ssd_core.errors import DataError, UsageError
from tests.data.formats.small_sources import MemorySource

NFC, NFD = (unicodedata.normalize(form, "Käse.jpg") for form in ("NFC", "NFD"))
VOC = [f"ImageSets/Main/{name}.txt" for name in ("train", "trainval", "val", "test")]
COCO = [
    f"annotations/{kind}_{split}2017.json"
    for kind in ("captions", "instances", "person_keypoints")
    for split in ("train", "val")
]


@pytest.mark.parametrize(
    ("places", "found"),
    [
        (VOC, [VOC[0], VOC[2], VOC[3]]),
        ([VOC[1], VOC[3]], [VOC[1], VOC[3]]),
        ([*VOC, "ImageSets/Main/dog_train.txt"], [VOC[0], VOC[2], VOC[3]]),
        (COCO, [f"annotations/instances_{split}2017.json" for split in ("train", "val")]),
        (["train", "eval"], ["train", "eval"]),
        ([f"{split}/_annotations.coco.json" for split in ("train", "valid")], None),
        (["labels_Train.json", "labels-TEST.json"], None),
        (["strain.json", "value.json", "."], []),
        ([], []),
    ],
)
def test_usual_names(places: list[str], found: list[str] | None) -> None:
    """Without `found`, the places are those of training and evaluation."""
    expected = places if found is None else found
    splits = choose_splits(places[::-1], ConvertConfig())
    assert splits == dict(zip(("train", "val", "test"), expected, strict=False))


def test_a_place_named_test_is_not_for_evaluation_beside_another_test_split() -> None:
    places = ["train.txt", "test.txt", "other.txt"]
    assert choose_splits(places, ConvertConfig())["val"] == "test.txt"
    chosen = choose_splits(places, ConvertConfig(test="other.txt"))
    assert chosen == {"train": "train.txt", "test": "other.txt"}


@pytest.mark.parametrize(
    ("places", "test"),
    [
        (["data.yaml:test"], "data.yaml:test"),
        (["data.yaml:test"], "images/test"),
        (["test"], "./test"),
        (["all.json"], "all.json:folder"),
        (["train.txt"], "train.txt"),
        (["val.txt"], "val.txt"),
        (["train", "val"], "train/"),
        (["train", "val"], "val/"),
    ],
)
def test_the_chosen_test_split_is_no_other_one(places: list[str], test: str) -> None:
    rest = {name: name for name in ("train", "val") if len(places) > 1 and name not in test}
    assert choose_splits(places, ConvertConfig(test=test)) == {**rest, "test": test}


def test_several_equal_names_are_an_error() -> None:
    with pytest.raises(UsageError, match=r"a/train.txt, b/train.txt; choose one with --train"):
        choose_splits(["b/train.txt", "a/train.txt"], ConvertConfig())


DIFFERS, AMBIGUOUS = "image_name_differs", "image_ambiguous"
UNSAFE, MISSING = "image_path_unsafe", "image_missing"


@pytest.mark.parametrize(
    ("files", "names", "place", "expected"),
    [
        ("a.jpg", "a.jpg", "train.json", "a.jpg"),
        ("x/a.jpg x/aa.jpg", "a.jpg", "train.json", "x/a.jpg"),
        ("x/sub/a.jpg", "sub/a.jpg", "train.json", "x/sub/a.jpg"),
        ("x/sub/a.jpg", "./sub//a.jpg", "train.json", "x/sub/a.jpg"),
        # several folders: the words of the annotation file, most of the images, the written one
        ("train/1.jpg val/1.jpg", "1.jpg", "annotations/instances_val.json", "val/1.jpg"),
        ("train17/1.jpg val17/1.jpg", "1.jpg", "instances_val17.json", "val17/1.jpg"),
        ("train14/1.jpg train17/1.jpg", "1.jpg", "instances_train17.json", "train17/1.jpg"),
        ("a/1.jpg b/1.jpg", "1.jpg", "b/annotations.json", "b/1.jpg"),
        ("old/1.jpg new/1.jpg new/2.jpg", "1.jpg 2.jpg", "a.json", "new/1.jpg new/2.jpg"),
        ("old/1.jpg new/1.jpg new/2.jpg", "./1.jpg ./2.jpg", "a.json", "new/1.jpg new/2.jpg"),
        ("1.jpg b/1.jpg", "1.jpg", "a.json", "1.jpg"),
        ("\u6570/1.jpg b/1.jpg", "1.jpg", "\u6570/a.json", "\u6570/1.jpg"),
        ("b/1.jpg b/c/1.jpg", "1.jpg", "a.json", AMBIGUOUS),
        ("x/1.jpg y/1.jpg", "1.jpg", "a.json", AMBIGUOUS),
        ("x/1.jpg y/1.jpg x/2.jpg y/3.jpg", "1.jpg 2.jpg", "a.json", "x/1.jpg x/2.jpg"),
        ("x/1.jpg y/1.jpg", "y\\1.jpg", "a.json", f"{DIFFERS} y/1.jpg"),
        ("x/1.jpg y/1.jpg", "/home/me/x/1.jpg", "a.json", f"{DIFFERS} x/1.jpg"),
        ("x/1.jpg y/2.jpg", "1.jpg 2.jpg", "a.json", "x/1.jpg y/2.jpg"),
        # an image of the other split with this name is another image
        ("train/1.jpg val/1.jpg val/2.jpg", "1.jpg 2.jpg", "train.json", f"train/1.jpg {MISSING}"),
        # folders that the source lacks
        ("a.jpg", "x/y/a.jpg a.jpg", "train.json", f"{MISSING} a.jpg"),
        ("obj/a.jpg obj/b.jpg", "data/obj/a.jpg data/obj/b.jpg", "a.txt", "obj/a.jpg obj/b.jpg"),
        ("a.jpg", "x/y/a.jpg", "train.json", "a.jpg"),
        ("x/a.jpg", "y/a.jpg", "train.json", f"{DIFFERS} x/a.jpg"),
        ("x/a.jpg", "y/a.jpg a.jpg", "train.json", f"{MISSING} x/a.jpg"),
        # other forms of the name
        ("x/sub/A.JPG", "Sub/a.jpg", "train.json", f"{DIFFERS} x/sub/A.JPG"),
        ("x/A.JPG y/b.jpg", "a.jpg b.jpg", "train.json", f"{DIFFERS} x/A.JPG y/b.jpg"),
        ("x/a.jpg x/A.jpg", "A.jpg", "train.json", "x/A.jpg"),
        ("x/a.jpg x/A.jpg", "A.JPG", "train.json", AMBIGUOUS),
        (NFC, NFD, "train.json", f"{DIFFERS} {NFC}"),
        ("images/a.jpg", "images\\a.jpg", "train.json", f"{DIFFERS} images/a.jpg"),
        ("images/a.jpg", "C:\\data\\images\\a.jpg", "a.json", f"{DIFFERS} images/a.jpg"),
        ("images/a.jpg", "/data/images/a.jpg", "train.json", f"{DIFFERS} images/a.jpg"),
        # names that may be anywhere
        ("a.jpg b.jpg", "../a.jpg b.jpg", "a.json", f"{UNSAFE} b.jpg"),
        ("a.jpg b.jpg", "../a.jpg b.jpg", "x/a.json", "a.jpg b.jpg"),
        ("a.jpg b.jpg", "..\\a.jpg b.jpg", "x/a.json", f"{DIFFERS} a.jpg b.jpg"),
        ("a.jpg b.jpg", "../../a.jpg b.jpg", "x/a.json", f"{UNSAFE} b.jpg"),
        ("a.jpg b.jpg", "..\\a.jpg b.jpg", "a.json", f"{UNSAFE} b.jpg"),
        ("a.jpg b.jpg", " a\0.jpg b.jpg", "a.json", f"{UNSAFE} {UNSAFE} b.jpg"),
        ("a.jpg b.jpg", "/etc/passwd b.jpg", "a.json", f"{UNSAFE} b.jpg"),
        ("a.jpg b.jpg", "C:\\a.jpg b.jpg", "a.json", f"{UNSAFE} b.jpg"),
        ("x/2.jpg", "missing.jpg 2.jpg", "a.json", f"{MISSING} x/2.jpg"),
    ],
)
def test_find_images(files: str, names: str, place: str, expected: str) -> None:
    source = MemorySource(dict.fromkeys(files.split(" "), b""))
    found = []
    for path, problem in find_images(source, names.split(" "), place):
        found += [problem.code] if problem else []
        found += [path] if path in source.files else []
    assert found == expected.split(" ")
    assert find_images(source, [], place) == []


def test_suffixes_are_those_of_the_decodable_formats() -> None:
    found = {Image.registered_extensions()[suffix] for suffix in IMAGE_SUFFIXES}
    assert found - {"MPO", "DIB"} == set(FORMATS)  # those are JPEG and BMP by their contents


def test_no_image_exists() -> None:
    with pytest.raises(DataError, match=r"a.json: none of its images.*the first: x.jpg.*--images"):
        find_images(MemorySource({"y.jpg": b""}), ["x.jpg"], "a.json")


def test_many_names_of_one_end_are_resolved_at_once() -> None:
    names = [f"{number}/image.jpg" for number in range(20_000)]
    source = MemorySource(dict.fromkeys([f"data/{name}" for name in names[1:]], b""))
    assert [match.problem for match in find_images(source, names, "a.json")[1:]] == [None] * 19_999
