"""Pascal VOC folders, good and bad."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ssd_core.data.formats import voc
from ssd_core.data.sources.folder import FolderSource
from ssd_core.errors import DataError, UsageError
from tests.data.formats.small_sources import put
from tests.data.formats.small_sources import read as read_folder

LIST = "ImageSets/Main/train.txt"
read = partial(read_folder, format="voc", val=LIST)
DOG = ("dog", 1, 2, 3, 4)


def xml(*objects: tuple[Any, ...], filename: str = "", size: str = "", extra: str = "") -> str:
    parts = "".join(
        f"<object><name>{name}</name>{extra}<bndbox><xmin>{a}</xmin><ymin>{b}</ymin>"
        f"<xmax>{c}</xmax><ymax>{d}</ymax></bndbox></object>"
        for name, a, b, c, d in objects
    )
    return f"<annotation><filename>{filename}</filename>{size}{parts}</annotation>"


def devkit(folder: Path, **xmls: str) -> Path:
    """Write the layout of VOCdevkit with one XML file and image per name."""
    for name, text in xmls.items():
        put(folder, {f"Annotations/{name}.xml": text, f"JPEGImages/{name}.jpg": "x"})
    return put(folder, {LIST: "\n".join(xmls)})


def test_a_sample_has_everything(tmp_path: Path) -> None:
    size = "<size><width>40</width><height>30.0</height></size>"
    part = "<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part>"
    difficult = f"<difficult>1</difficult>{part}"
    devkit(
        tmp_path,
        b=xml(("dog", 1, 2, 3, 4), (" cat ", 5.5, 6, 7, "8.0"), size=size, extra=difficult),
        a=xml(DOG),
    )
    dataset, findings = read(tmp_path)
    assert not findings.counts
    assert [(c.name, c.category_id) for c in dataset.classes] == [("cat", 1), ("dog", 2)]
    first, second = (dataset.splits["train"].sample(i) for i in range(2))
    assert (first.image_id, first.image_path) == (1, "JPEGImages/b.jpg")
    assert first.place == "Annotations/b.xml"
    assert (first.width, first.height) == (40, 30)
    assert (second.width, second.height) == (0, 0)
    assert first.annotations.boxes.tolist() == [[1, 2, 3, 4], [5.5, 6, 7, 8]]
    assert first.annotations.labels.tolist() == [2, 1]
    assert first.annotations.is_difficult.tolist() == [True, True]
    assert second.annotations.is_difficult.tolist() == [False]
    assert [s.annotations.box_ids.tolist() for s in (first, second)] == [[1, 2], [1]]


@pytest.mark.parametrize(
    ("word", "is_difficult"),
    [("1", True), ("true", True), ("True", True), ("yes", True), ("0", False), ("False", False)],
)
def test_difficult_as_a_word(tmp_path: Path, word: str, is_difficult: bool) -> None:
    devkit(tmp_path, a=xml(DOG, extra=f"<difficult> {word} </difficult>"))
    annotations = read(tmp_path)[0].splits["train"].annotations
    assert annotations.is_difficult.tolist() == [is_difficult]


def test_coordinates_counted_from_one(tmp_path: Path) -> None:
    dataset, _ = read(devkit(tmp_path, a=xml(DOG)), voc_offset=1)
    assert dataset.splits["train"].annotations.boxes.tolist() == [[0, 1, 2, 3]]


def test_chosen_classes(tmp_path: Path) -> None:
    devkit(tmp_path, a=xml(DOG, ("cat", 1, 2, 3, 4)))
    dataset, findings = read(tmp_path, classes=("owl", "dog"))
    assert dataset.splits["train"].annotations.labels.tolist() == [2]
    assert findings.counts == {"class_left_out": 2}
    assert findings.listed[0].detail == "1 objects of class 'cat', which is not in --classes"
    assert not findings.stops
    with pytest.raises(UsageError, match="^unknown class 'Cat'; did you mean 'cat'"):
        read(tmp_path, classes=("dog", "Cat"))


FORBIDDEN = "has forbidden XML: EntitiesForbidden"
NO_BOX = "has no bndbox with four numbers"
UNREADABLE: list[tuple[str | bytes, str]] = [
    ("", "is not XML: no element found"),
    ("<annotation><object>", "is not XML"),
    ("<html></html>", "the root is <html>"),
    ('<!DOCTYPE a [<!ENTITY b "c">]><annotation>&b;</annotation>', FORBIDDEN),
    ('<!DOCTYPE a [<!ENTITY b "a"><!ENTITY c "&b;&b;">]><annotation>&c;</annotation>', FORBIDDEN),
    ('<!DOCTYPE a [<!ENTITY b SYSTEM "file:///x">]><annotation>&b;</annotation>', FORBIDDEN),
    ('<!DOCTYPE a SYSTEM "http://a.org/a"><annotation>&b;</annotation>', "undefined entity"),
    ('<?xml version="1.0" encoding="klingon"?><annotation/>', "unknown encoding"),
    ('<?xml version="1.0" encoding="UTF-16"?><annotation/>', "encoding specified in XML"),
    (b'<?xml version="1.0" encoding="UTF-8"?><annotation>\xe4</annotation>', "not well-formed"),
    (b"\x00" * 40, "is not XML"),
    ("<a>" * 50_000, "is not XML: no element found"),
    ("<annotation>" * 2, "is not XML"),
    (xml(DOG) + xml(DOG), "is not XML: junk after document element"),
]
MALFORMED: list[tuple[str | bytes, str]] = [
    (xml(DOG).replace("<xmin>1</xmin>", "<xmin/>"), NO_BOX),
    (xml(("", 1, 2, 3, 4)), "object 1 '' has no name"),
    (xml(("dog", 1, 2, 3, "")), NO_BOX),
    (xml(("dog", 1, 2, 3, "four")), NO_BOX),
    ("<annotation><object><name>dog</name></object></annotation>", "object 1 'dog' has no bndbox"),
]


@pytest.mark.parametrize(
    ("text", "code", "detail"),
    [(text, "annotations_unreadable", detail) for text, detail in UNREADABLE]
    + [(text, "object_malformed", detail) for text, detail in MALFORMED],
)
def test_bad_annotations(tmp_path: Path, text: str | bytes, code: str, detail: str) -> None:
    devkit(tmp_path, a=xml(DOG), b="")
    content = text if isinstance(text, bytes) else text.encode()
    (tmp_path / "Annotations" / "b.xml").write_bytes(content)
    dataset, findings = read(tmp_path, policy="repair")
    del findings.counts["image_emptied"]
    assert findings.counts == {code: 2}
    assert findings.listed[0].place == "Annotations/b.xml"
    assert detail in findings.listed[0].detail
    assert [entry.image_path for entry in dataset.splits["train"].images] == ["JPEGImages/a.jpg"]
    assert len(dataset.splits["train"].annotations) == 1
    assert dataset.splits["train"].num_listed == 2
    assert read(tmp_path)[1].stops
    assert len(read(tmp_path, policy="skip")[0].splits["train"]) == 1


LATIN_1 = b'<?xml version="1.0" encoding="latin-1"?>'
GBK = b"<?xml version='1.0' encoding='GBK'?>"


@pytest.mark.parametrize(
    ("text", "boxes"),
    [
        (xml(DOG).encode("utf-16"), [[1, 2, 3, 4]]),
        (b"\xef\xbb\xbf" + xml(DOG).encode(), [[1, 2, 3, 4]]),
        (LATIN_1 + xml(("K\xe4se", *DOG[1:])).encode("latin-1"), [[1, 2, 3, 4]]),
        (GBK + xml(("\u732b", *DOG[1:])).encode("gbk"), [[1, 2, 3, 4]]),
        (xml(("dog", "1.5", " 2 ", "3e0", "\n4\n")).encode(), [[1.5, 2, 3, 4]]),
        (xml(DOG, DOG).encode(), [[1, 2, 3, 4]] * 2),
        (("<annotation>" + "<x>" * 3000 + "</x>" * 3000 + "</annotation>").encode(), []),
    ],
)
def test_valid_variants(tmp_path: Path, text: bytes, boxes: list[list[float]]) -> None:
    devkit(tmp_path, a="", b=xml(DOG))
    (tmp_path / "Annotations" / "a.xml").write_bytes(text)
    dataset, findings = read(tmp_path)
    assert not findings.counts
    assert dataset.splits["train"].sample(0).annotations.boxes.tolist() == boxes


@pytest.mark.parametrize(
    "outline",
    [
        "<x1>9</x1><y1>2</y1><x2>1</x2><y2>4</y2><x3>3</x3><y3>7</y3>",
        "<pt><x>9</x><y>2</y></pt><pt><x>1</x><y>4</y></pt><pt><x>3</x><y>7</y></pt>",
    ],
)
def test_outlines_become_boxes_under_repair(tmp_path: Path, outline: str) -> None:
    text = f"<object><name>dog</name><polygon>{outline}</polygon></object>"
    devkit(tmp_path, a=f"<annotation>{text}</annotation>")
    dataset, findings = read(tmp_path, policy="repair")
    assert findings.counts == {"box_from_outline": 2}
    assert findings.listed[0].detail == "object 1 'dog' has no bndbox, but an outline"
    assert dataset.splits["train"].annotations.boxes.tolist() == [[1, 2, 9, 7]]
    assert read(tmp_path)[1].stops


def test_listed_without_annotations(tmp_path: Path) -> None:
    devkit(tmp_path, a=xml(DOG))
    put(tmp_path, {"ImageSets/Main/train.txt": "a\nb\n"})
    dataset, findings = read(tmp_path, policy="repair")
    assert findings.counts == {"annotations_missing": 2}
    assert "lists 'b', but Annotations/b.xml does not exist" in findings.listed[0].detail
    assert [entry.image_path for entry in dataset.splits["train"].images] == ["JPEGImages/a.jpg"]


def test_lists_with_flags_suffixes_and_spaces(tmp_path: Path) -> None:
    devkit(tmp_path, **{"a": xml(DOG), "b": xml(DOG), "photo 1": xml(DOG), "c": xml(DOG)})
    devkit(tmp_path, d=xml(DOG), e=xml(DOG))
    lines = "\ufeffa -1\nb  1\nphoto 1\n\nc.jpg\n./JPEGImages/d.jpg\nJPEGImages\\e.jpg\n"
    put(tmp_path, {"ImageSets/Main/train.txt": lines})
    dataset, findings = read(tmp_path)
    assert not findings.counts
    stems = [Path(entry.image_path).stem for entry in dataset.splits["train"].images]
    assert stems == ["a", "b", "photo 1", "c", "d", "e"]


def test_the_stem_counts_then_the_written_name(tmp_path: Path) -> None:
    devkit(tmp_path, a=xml(DOG, filename="b.jpg"), b=xml(DOG))
    put(tmp_path, {"Annotations/c.xml": xml(DOG, filename="B2.png"), "JPEGImages/B2.PNG": "x"})
    put(tmp_path, {"Annotations/d.xml": xml(DOG), "ImageSets/Main/train.txt": "a\nb\nc\nd\n"})
    dataset, findings = read(tmp_path)
    assert [entry.image_path for entry in dataset.splits["train"].images] == [
        "JPEGImages/a.jpg",
        "JPEGImages/b.jpg",
        "JPEGImages/B2.PNG",
    ]
    assert {(item.code, item.image) for item in findings.listed} == {
        ("image_missing", "JPEGImages/d.jpg")
    }


@pytest.mark.parametrize(
    ("files", "written", "line", "expected"),
    [
        ("a.jpg a.png", "a.png", "a", "a.png"),
        ("a.jpg a.PNG", "C:\\photos\\a.png", "a", "a.PNG"),
        ("a.jpg a.png", "", "a.png", "a.png"),
        ("a.jpg a.png", "b.png", "a", "image_ambiguous"),
        ("a.jpg a.png", "", "a", "image_ambiguous"),
        ("A.jpg", "", "a", "image_name_differs A.jpg"),
        ("A.jpg a.jpg", "", "a", "a.jpg"),
        ("a.jpg", "", "A", "image_name_differs a.jpg"),
        ("b.jpg", "b.jpg", "a", "b.jpg"),
    ],
)
def test_the_image_of_an_xml_file(
    tmp_path: Path, files: str, written: str, line: str, expected: str
) -> None:
    put(tmp_path, {f"JPEGImages/{name}": "x" for name in files.split()})
    put(tmp_path, {"Annotations/a.xml": xml(DOG, filename=written), LIST: line})
    dataset, findings = read(tmp_path, policy="repair")
    paths = [entry.image_path for entry in dataset.splits["train"].images]
    assert sorted({item.code for item in findings.listed}) + paths == [
        f"JPEGImages/{word}" if "." in word else word for word in expected.split()
    ]


@pytest.mark.parametrize(
    ("val", "annotations", "images"),
    [
        ("eval", "", ""),
        ("eval", "Annotations/", "Images/"),
        ("test", "Annotations/", ""),
    ],
)
def test_folders_as_splits(tmp_path: Path, val: str, annotations: str, images: str) -> None:
    for split, name in (("train", "a"), (val, "b")):
        put(tmp_path, {f"{split}/{annotations}{name}.xml": xml(DOG)})
        put(tmp_path, {f"{split}/{images}{name}.jpg": "x"})
    dataset, findings = read(tmp_path, val=None)
    assert not findings.counts
    stems = {n: [Path(e.image_path).stem for e in s.images] for n, s in dataset.splits.items()}
    assert stems == {"train": ["a"], "val": ["b"]}


@pytest.mark.parametrize(
    ("lists", "annotations", "images"),
    [
        ("ImageSets", "Annotations", "jpegimages"),
        ("ImageSets", "annotations", "JPEGImages"),
        ("imagesets", "ANNOTATIONS", "IMAGES"),
        ("ImageSets", "Annotations", "photos/2024"),
    ],
)
@pytest.mark.parametrize("filename", ["a.jpg", "C:\\data\\a.jpg", "/data/JPEGImages/a.jpg"])
def test_folders_count_in_any_case_and_images_may_be_anywhere(
    tmp_path: Path, lists: str, annotations: str, images: str, filename: str
) -> None:
    put(tmp_path, {f"{annotations}/x.xml": xml(DOG, filename=filename), f"{images}/a.jpg": "x"})
    put(tmp_path, {f"{annotations}/b.xml": xml(DOG), f"{images}/b.jpg": "x"})
    put(tmp_path, {f"{lists}/Main/train.txt": "x\nb\n"})
    dataset, findings = read(tmp_path, val=f"{lists}/Main/train.txt")
    assert not findings.counts
    found = [entry.image_path for entry in dataset.splits["train"].images]
    assert found == [f"{images}/a.jpg", f"{images}/b.jpg"]


def test_a_folder_may_be_named_by_its_annotations_and_images_may_be_elsewhere(
    tmp_path: Path,
) -> None:
    devkit(tmp_path, a=xml(DOG))
    dataset, _ = read(tmp_path, train="Annotations", val=".")
    assert dataset.splits["train"].images == dataset.splits["val"].images
    assert dataset.splits["train"].images[0].image_path == "JPEGImages/a.jpg"
    put(tmp_path, {"other/a.png": "x"})
    dataset, _ = read(tmp_path, images="other")
    assert dataset.splits["train"].images[0].image_path == "other/a.png"


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("no.txt", "--train no.txt: this ImageSets list does not exist"),
        ("nowhere", "--train nowhere: this folder does not exist in"),
        ("JPEGImages", "this folder has no XML file"),
        ("../x", "--train ../x: leaves the source"),
    ],
)
def test_places_that_do_not_exist(tmp_path: Path, place: str, message: str) -> None:
    devkit(tmp_path, a=xml(DOG))
    with pytest.raises(UsageError, match=message):
        read(tmp_path, train=place)


def test_a_data_set_without_objects(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no object has a class"):
        read(devkit(tmp_path, a=xml()))


FOUND = {
    "damaged first file": {"Annotations/a.xml": "", "Annotations/b.xml": xml(DOG), LIST: "a"},
    "main lists first": {"ImageSets/Segmentation/train.txt": "b", LIST: "b"},
    "no lists of one class": {LIST: "b", "ImageSets/Main/dog_train.txt": "b -1\na  1"},
    "images without annotations": {LIST: "b.jpg", "ImageSets/Main/test.txt": "a"},
    "only a list of one class": {LIST: "b 1\na -1"},
    "a name that ends like a flag": {LIST: "b 1\nphoto"},
}


@pytest.mark.parametrize("name", FOUND)
def test_one_list_is_found(tmp_path: Path, name: str) -> None:
    files = {"b.xml": xml(DOG)} if "Annotations/b.xml" not in FOUND[name] else {}
    assert voc.find_places(FolderSource(put(tmp_path, files | FOUND[name]))) == [LIST]


def test_other_xml_is_not_voc(tmp_path: Path) -> None:
    put(tmp_path, {"pom.xml": "<project></project>", "a.txt": "x"})
    assert voc.find_places(FolderSource(tmp_path)) == []
