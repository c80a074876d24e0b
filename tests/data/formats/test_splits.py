"""Names of splits and folders that people use."""

import pytest
from PIL import Image

from ssd_core.data.decode import FORMATS
from ssd_core.data.formats.names import find_image_folder
from ssd_core.data.formats.splits import find_split
from ssd_core.data.sources.base import IMAGE_SUFFIXES
from ssd_core.errors import DataError, UsageError
from tests.data.formats.memory_source import MemorySource

VOC = [f"ImageSets/Main/{name}.txt" for name in ("train", "trainval", "val", "test")]
COCO = [
    f"annotations/{kind}_{split}2017.json"
    for kind in ("captions", "instances", "person_keypoints")
    for split in ("train", "val")
]


@pytest.mark.parametrize(
    ("places", "train", "val"),
    [
        (VOC, "ImageSets/Main/train.txt", "ImageSets/Main/val.txt"),
        ([VOC[1], VOC[3]], "ImageSets/Main/trainval.txt", "ImageSets/Main/test.txt"),
        ([*VOC, "ImageSets/Main/dog_train.txt"], VOC[0], VOC[2]),
        (COCO, "annotations/instances_train2017.json", "annotations/instances_val2017.json"),
        (["train", "eval"], "train", "eval"),
        (
            ["train/_annotations.coco.json", "valid/_annotations.coco.json"],
            "train/_annotations.coco.json",
            "valid/_annotations.coco.json",
        ),
        (["labels_Train.json", "labels-TEST.json"], "labels_Train.json", "labels-TEST.json"),
        (["strain.json", "value.json", "."], None, None),
        ([], None, None),
    ],
)
def test_find_split(places: list[str], train: str | None, val: str | None) -> None:
    assert find_split(places, "train") == train
    assert find_split(reversed(places), "val") == val


def test_several_equal_names_are_an_error() -> None:
    with pytest.raises(UsageError, match=r"a/train.txt, b/train.txt; choose one with --train"):
        find_split(["b/train.txt", "a/train.txt"], "train")


@pytest.mark.parametrize(
    ("files", "names", "place", "prefix"),
    [
        (["a.jpg"], ["a.jpg"], "train.json", ""),
        (["x/a.jpg", "x/aa.jpg"], ["a.jpg"], "train.json", "x/"),
        (["x/sub/a.jpg"], ["sub/a.jpg"], "train.json", "x/"),
        (["train/1.jpg", "val/1.jpg"], ["1.jpg"], "annotations/instances_val.json", "val/"),
        (["train2017/1.jpg", "val2017/1.jpg"], ["1.jpg"], "instances_val2017.json", "val2017/"),
        (["old/1.jpg", "new/1.jpg", "new/2.jpg"], ["1.jpg", "2.jpg"], "a.json", "new/"),
        (["b/1.jpg", "b/c/1.jpg"], ["1.jpg"], "a.json", "b/"),
        (["x/2.jpg"], ["missing.jpg", "../2.jpg", "2.jpg"], "a.json", "x/"),
        (["x/sub/a.jpg"], ["./sub//a.jpg"], "train.json", "x/"),
        (["old/1.jpg", "new/1.jpg", "new/2.jpg"], ["./1.jpg", "./2.jpg"], "a.json", "new/"),
        (["x/sub/A.JPG"], ["Sub/a.jpg"], "train.json", "x/"),
        (["x/A.JPG", "y/b.jpg"], ["a.jpg", "b.jpg"], "train.json", "y/"),
        (["a.jpg"], ["x/y/a.jpg", "a.jpg"], "train.json", ""),
        ([], [], "a.json", ""),
        (["x/a.jpg"], ["/home/me/a.jpg", "C:\\a.jpg", "../a.jpg"], "a.json", ""),
    ],
)
def test_find_image_folder(files: list[str], names: list[str], place: str, prefix: str) -> None:
    assert find_image_folder(MemorySource(dict.fromkeys(files, b"")), names, place) == prefix


def test_suffixes_are_those_of_the_decodable_formats() -> None:
    assert {Image.registered_extensions()[suffix] for suffix in IMAGE_SUFFIXES} == set(FORMATS)


def test_no_image_exists() -> None:
    with pytest.raises(DataError, match=r"a.json: none of its images.*the first: x.jpg.*--images"):
        find_image_folder(MemorySource({"y.jpg": b""}), ["x.jpg"], "a.json")
