"""COCO files, good and bad."""

import json
from pathlib import Path
from typing import Any

import pytest

from ssd_core.data.checking.listing import check_listing
from ssd_core.data.findings import Findings
from ssd_core.data.formats import coco
from ssd_core.data.formats.dataset import SourceDataset
from ssd_core.data.sources.folder import FolderSource
from ssd_core.errors import DataError, UsageError
from tests.data.formats.small_sources import put
from tests.data.formats.small_sources import read as read_folder

CATEGORIES = [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}]
IMAGES = [
    {"id": 20, "file_name": "b.jpg", "width": 10, "height": 8},
    {"id": 10, "file_name": "a.jpg", "width": 10, "height": 8},
]


def box(image_id: int = 10, **changes: Any) -> dict[str, Any]:
    plain = {"id": 5, "image_id": image_id, "category_id": 7, "bbox": [1, 2, 3, 4], "area": 6.5}
    return plain | {"iscrowd": 0} | changes


def write(folder: Path, *annotations: dict[str, Any], **parts: Any) -> Path:
    content = {"images": IMAGES, "annotations": list(annotations), "categories": CATEGORIES}
    images = {f"photos/{name}.jpg": "x" for name in "ab"}
    return put(folder, images | {"train.json": json.dumps(content | parts)})


def read(folder: Path, **options: Any) -> tuple[SourceDataset, Findings]:
    return read_folder(folder, **{"train": "train.json", "val": "train.json"} | options)


def test_ids_areas_crowds_and_order_are_kept(tmp_path: Path) -> None:
    write(
        tmp_path,
        box(10, id=1, bbox=[0.5, 1.25, 2, 3], area=1.5),
        box(20, id=2, iscrowd=1, category_id=3, segmentation={"size": [1, 1], "counts": "x"}),
        box(10, id=0, iscrowd=True, area=None, segmentation=[[1, 2, 3]]),
        box(10, id=3, area=-1),
        box(10, id=4, area=0),
    )
    dataset, findings = read(tmp_path)
    assert not findings.counts
    assert [(c.name, c.category_id) for c in dataset.classes] == [("cat", 3), ("dog", 7)]
    first, second = (dataset.splits["train"].sample(i) for i in range(2))
    assert (first.image_id, first.image_path) == (20, "photos/b.jpg")
    assert (first.width, first.height, first.place) == (10, 8, "train.json: image 20")
    assert first.annotations.boxes.tolist() == [[1, 2, 4, 6]]
    assert first.annotations.labels.tolist() == [1]
    assert first.annotations.is_crowd.tolist() == [True]
    assert second.annotations.boxes.tolist() == [[0.5, 1.25, 2.5, 4.25]] + [[1, 2, 4, 6]] * 3
    assert second.annotations.areas.tolist() == [1.5, 12, 12, 12]
    assert second.annotations.box_ids.tolist() == [1, 0, 3, 4]
    assert second.annotations.is_crowd.tolist() == [False, True, False, False]


def test_chosen_classes_have_the_order_of_the_choice(tmp_path: Path) -> None:
    write(tmp_path, box(10), box(20, category_id=3), box(20, category_id=3))
    dataset, findings = read(tmp_path, classes=("dog",))
    assert [(c.label, c.name, c.category_id) for c in dataset.classes] == [(1, "dog", 7)]
    assert dataset.splits["train"].annotations.labels.tolist() == [1]
    assert findings.counts == {"class_left_out": 4}  # two in each of the equal splits
    assert not findings.stops


FOUR = "bbox: expected a list of x, y, width and height, got "


@pytest.mark.parametrize(
    ("annotation", "code", "detail"),
    [
        (box(11), "object_of_unknown_image", "image 11 does not exist"),
        (box(category_id=4), "class_unknown", "category 4 does not exist"),
        (box(bbox=[1, 2, 3]), "object_malformed", f"{FOUR}3"),
        (box(bbox=[]), "object_malformed", f"{FOUR}0"),
    ],
)
def test_bad_objects(tmp_path: Path, annotation: dict[str, Any], code: str, detail: str) -> None:
    write(tmp_path, box(20), annotation)
    dataset, findings = read(tmp_path, policy="repair")
    is_emptied = code != "object_of_unknown_image"  # image 10 has no other object
    assert findings.counts == {code: 2} | ({"image_emptied": 2} if is_emptied else {})
    assert findings.listed[0].place == "train.json: $.annotations[1]"
    assert findings.listed[0].detail == detail
    assert len(dataset.splits["train"]) == 2 - is_emptied
    assert len(dataset.splits["train"].annotations) == 1
    assert read(tmp_path)[1].stops
    dataset, findings = read(tmp_path, policy="skip")
    assert len(dataset.splits["train"]) == 2 - is_emptied
    check_listing(FolderSource(tmp_path), dataset, findings)
    assert "image_not_used" not in findings.counts  # a dropped image is not one that is left over
    assert dataset.splits["train"].num_listed == 2


def test_places_count_malformed_entries_too(tmp_path: Path) -> None:
    write(tmp_path, box(bbox="x"), box(11), box(), images=[None, *IMAGES])
    _, findings = read(tmp_path, policy="repair")
    places = {finding.place.removeprefix("train.json: $.") for finding in findings.listed}
    assert places == {"images[0]", "annotations[0]", "annotations[1]"}


@pytest.mark.parametrize("outline", [[[5, 6, 25, 6], [25, 21, 5, 21]], [[25, 21, 5, 6, 9, 9]]])
@pytest.mark.parametrize("bbox", [{}, {"bbox": None}, {"bbox": []}])
def test_an_outline_without_a_box(tmp_path: Path, outline: Any, bbox: dict[str, Any]) -> None:
    plain = {key: value for key, value in box().items() if key != "bbox"}
    write(tmp_path, plain | bbox | {"segmentation": outline})
    dataset, findings = read(tmp_path, policy="repair")
    assert findings.counts == {"box_from_outline": 2}
    assert findings.listed[0].detail == "has no bbox, but an outline"
    assert dataset.splits["train"].annotations.boxes.tolist() == [[5, 6, 25, 21]]
    assert read(tmp_path)[1].stops
    assert len(read(tmp_path, policy="skip")[0].splits["train"]) == 1


@pytest.mark.parametrize(
    "outline", [[], [[1, 2, 3]], [["a", "b"]], {"counts": [1], "size": [1, 1]}]
)
def test_no_box_and_no_outline(tmp_path: Path, outline: Any) -> None:
    write(tmp_path, box(20), box(bbox=None, segmentation=outline))
    assert read(tmp_path)[1].counts == {"object_malformed": 2}


def test_objects_of_a_malformed_image_go_with_it(tmp_path: Path) -> None:
    write(tmp_path, box(10), box(20), images=[IMAGES[0], IMAGES[1] | {"width": "ten"}])
    dataset, findings = read(tmp_path, policy="repair")
    assert findings.counts == {"image_malformed": 2}
    assert len(dataset.splits["train"].annotations) == 1


def test_two_images_with_one_id(tmp_path: Path) -> None:
    options = {"policy": "repair"}
    write(tmp_path, box(10), box(20, id=6), images=[*IMAGES, {"id": 10, "file_name": "c.jpg"}])
    dataset, findings = read(tmp_path, **options)
    assert findings.counts == {"image_id_twice": 4}  # both of them, in two equal splits
    assert [(finding.place, finding.image) for finding in findings.listed[:2]] == [
        ("train.json: image 10", "photos/a.jpg"),
        ("train.json: $.images[2]", "photos/c.jpg"),
    ]
    (only,) = dataset.splits["train"].images  # the objects of id 10 may be of either image
    assert (only.image_path, len(dataset.splits["train"].annotations)) == ("photos/b.jpg", 1)
    assert dataset.splits["train"].num_listed == 3
    write(tmp_path, box(10), box(20, id=6), images=[*IMAGES, IMAGES[1]])
    dataset, findings = read(tmp_path, **options)
    assert findings.counts == {"image_id_twice": 2}
    assert len(dataset.splits["train"]) == len(dataset.splits["train"].annotations) == 2


def test_two_objects_with_one_id(tmp_path: Path) -> None:
    write(tmp_path, box(10, id=4), box(20, id=4), box(20, id=0), box(10, id=4))
    dataset, findings = read(tmp_path, policy="repair")
    check_listing(FolderSource(tmp_path), dataset, findings)
    assert findings.counts["object_id_twice"] == 4
    assert findings.listed[0].place == "train.json: annotation 4"
    assert findings.listed[0].detail == "3 objects have this id"
    assert dataset.splits["train"].annotations.box_ids.tolist() == [4, 0, 4, 4]


@pytest.mark.parametrize(
    ("boxes", "count"),
    [
        ([[2, 3, 9, 7], [1, 1, 4, 5]], 1),
        ([[2, 3, 9, 7], [5, 1, 4, 5]], 0),  # the second is not a pair of corners
        ([[1, 1, 4, 5], [0, 0, 10, 8]], 0),  # nothing leaves the image
        ([[2, 3, 99, 7]], 0),  # wrong in both ways
        ([], 0),
    ],
)
def test_corners_instead_of_sizes_are_suspected(
    tmp_path: Path, boxes: list[list[float]], count: int
) -> None:
    for images, expected in ((IMAGES, 2 * count), ([{"id": 10, "file_name": "a.jpg"}], 0)):
        write(tmp_path, *(box(bbox=v, id=n) for n, v in enumerate(boxes)), images=images)
        dataset, findings = read(tmp_path)
        check_listing(FolderSource(tmp_path), dataset, findings)
        assert findings.counts["boxes_may_be_corners"] == expected  # none if sizes are unknown
        assert findings.stops is bool(expected)


def test_two_categories_with_one_id(tmp_path: Path) -> None:
    write(tmp_path, categories=[{"id": 1, "name": "a"}, {"id": 1, "name": "b"}])
    with pytest.raises(DataError, match="a category id occurs twice"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train": "nowhere.json"}, "--train nowhere.json: this annotation file does not exist"),
        ({"train": "../train.json"}, "--train ../train.json: leaves the source"),
        ({"train": "train.json:nowhere"}, "image folder nowhere: this folder does not exist in"),
        ({"train": "train.json:../photos"}, "leaves the source"),
        ({"images": "nowhere"}, "image folder nowhere: this folder does not exist in"),
        ({"images": ".."}, "image folder ..: leaves the source"),
    ],
)
def test_places_that_do_not_exist(tmp_path: Path, options: dict[str, str], message: str) -> None:
    write(tmp_path, box())
    with pytest.raises(UsageError, match=message):
        read(tmp_path, format="coco", **options)


def test_image_folder_is_given_or_found(tmp_path: Path) -> None:
    write(tmp_path, box())
    for options in ({}, {"train": "train.json:photos"}, {"images": "photos/"}):
        dataset, _ = read(tmp_path, **options)
        assert dataset.splits["train"].images[0].image_path == "photos/b.jpg"
    for written, code in (("./a.jpg", None), ("A.JPG", "image_name_differs")):
        write(tmp_path, images=[{"id": 1, "file_name": written}])
        dataset, findings = read(tmp_path)
        assert dataset.splits["train"].images[0].image_path == "photos/a.jpg"
        assert findings.counts == ({code: 2} if code else {})
    write(tmp_path, images=[{"id": 1, "file_name": "c.jpg"}])
    with pytest.raises(DataError, match=r"none of its images exists.*c\.jpg.*--images"):
        read(tmp_path)
    write(tmp_path, images=[{"id": 1, "file_name": "../photos/a.jpg"}])
    dataset, findings = read(tmp_path)
    assert not dataset.splits["train"].images
    assert findings.counts == {"image_path_unsafe": 2}


@pytest.mark.parametrize(
    ("content", "is_coco"),
    [
        ({"images": [], "annotations": [{}]}, True),
        ({"info": "x" * 5_000_000, "annotations": [1], "images": ["x" * 5_000_000]}, True),
        ({"images": IMAGES, "annotations": []}, False),
        ({"images": IMAGES, "categories": CATEGORIES}, False),  # such as image_info_test2017.json
        ({"categories": CATEGORIES, "info": {}}, False),  # such as notes.json of Label Studio
        ([{"image_id": 1}], False),
        ({"name": "x"}, False),
    ],
)
def test_only_annotation_files_are_seen(
    tmp_path: Path, content: Any, is_coco: bool, caplog: pytest.LogCaptureFixture
) -> None:
    put(tmp_path, {"a.json": json.dumps(content), "cut.json": '{"images": [{"id": 1'})
    put(tmp_path, {"train.json": json.dumps({"images": IMAGES}), "blank.json": ""})
    expected = [*["a.json"] * is_coco, "cut.json", "train.json"]
    assert coco.find_places(FolderSource(tmp_path)) == expected
    assert "blank.json: left out, because it has no annotations" in caplog.text
    is_empty = "annotations" in content and not content["annotations"]
    assert ("a.json: left out, because it has no annotations" in caplog.text) is is_empty


def test_a_lone_file_with_an_empty_list_is_seen(tmp_path: Path) -> None:
    put(tmp_path, {"a.json": json.dumps({"images": IMAGES, "annotations": []})})
    assert coco.find_places(FolderSource(tmp_path)) == ["a.json"]
