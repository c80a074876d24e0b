"""COCO files: the same objects wherever a piece ends; an error or findings for malformed ones."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ssd_core.data.findings import Findings
from ssd_core.data.formats import coco
from ssd_core.data.formats.coco import file as coco_file
from ssd_core.data.formats.coco.file import UNUSABLE, CocoFile, read_coco
from ssd_core.data.sources.folder import FolderSource
from ssd_core.errors import DataError

LONG = "9" * 5000
"""As a number, more digits than Python converts."""
IMAGE = {"id": 1, "file_name": "a.jpg", "width": 9, "height": 8}
OBJECT = {"id": 5, "image_id": 1, "category_id": 2, "bbox": [1, 2, 3, 4], "area": 6, "iscrowd": 0}
CATEGORY = {"id": 2, "name": "cat"}


def content(**changes: Any) -> str:
    plain = {"images": [IMAGE], "annotations": [OBJECT], "categories": [CATEGORY]}
    return json.dumps(plain | changes)


GOOD = content()


def read(folder: Path, text: str | bytes) -> tuple[CocoFile, Findings]:
    raw = text.encode() if isinstance(text, str) else text
    (folder / "train.json").write_bytes(raw)
    file = read_coco(FolderSource(folder), "train.json")
    findings = Findings("repair")
    for fault in file.faults:
        findings.add(fault.code, f"train.json: {fault.path}", fault.problem)
    return file, findings


def rows(file: CocoFile) -> list[tuple[Any, ...]]:
    """Return id, image, category, corners, area and crowd of each usable annotation."""
    objects = file.annotations
    columns = (objects.box_ids, file.image_ids, objects.labels)
    values = zip(
        *(c.tolist() for c in (*columns, objects.boxes, objects.areas, objects.is_crowd)),
        strict=True,
    )
    return [row for row in values if row[1] != UNUSABLE]


def category(**changes: Any) -> str:
    return content(categories=[CATEGORY | changes])


NOT_COCO: dict[str, tuple[str | bytes, str]] = {
    "empty": ("", "line 1 column 1: expecting value"),
    "truncated": (GOOD[:60], "line 1 column "),
    "truncated in a list": ('{"images": [', "line 1 column 13: "),
    "comma too many": ('{"images": [],\n "annotations": [],}', "line 2 column "),
    "comma missing": (GOOD.replace(", ", " ", 1), "line 1 column "),
    "single quotes": (GOOD.replace('"', "'"), "line 1 column 2: "),
    "two files in one": (GOOD + GOOD, "extra data"),
    "nested deeply": ('{"info": ' + "[" * 100_000, "nested too deeply"),
    "closed": ('{"a": ' + "[" * 99_999 + "]" * 99_999 + "," + GOOD[1:], "nested too deeply"),
    "bad UTF-8": (GOOD.encode().replace(b'"cat"', b'"c\xfft"'), "is not text, expected UTF-8"),
    "UTF-16": (GOOD.encode("utf-16"), "is text in UTF-16, expected UTF-8"),
    "UTF-16 without mark": (GOOD.encode("utf-16-le"), "line 1 column 2: "),
    "a list": ("[]", "expected an object, got a list"),
    "null": ("null", "expected an object, got null"),
    "no categories": ('{"images": [], "annotations": []}', "has no categories"),
    "no annotations": ('{"images": [], "categories": []}', "has no annotations"),
    "no images": ('{"annotations": [], "categories": []}', "has no images"),
    "images: object": (content(images={}), "images: expected a list, got an object"),
    "images: null": (content(images=None), "images: expected a list, got null"),
    "annotations: number": (content(annotations=1), "annotations: expected a list, got a whole"),
    "category: text": (content(categories=["a"]), r"s\[0\]: expected an object, got text"),
    "category: no name": (content(categories=[{"id": 1}]), r"\$.categories\[0\]: has no name"),
    "category: id as text": (category(id="a"), r"s\[0\]: id: expected a whole number, got text"),
    "category: half an id": (category(id=2.5), "id: expected a whole number, got one with a point"),
    "category: negative id": (category(id=-2), "id: expected a whole number >= 0"),
    "half a surrogate pair": (content(categories=["\ud800"]), "holds half of a surrogate pair"),
    "images twice": (GOOD[:-1] + ', "images": []}', "the key 'images' occurs twice"),
    "annotations twice": (GOOD[:-1] + ', "annotations": []}', "'annotations' occurs twice"),
    "bbox twice": (GOOD.replace('"area"', '"bbox": [1], "area"'), "'bbox' of the object with id 5"),
    "name twice": (GOOD.replace('"width"', '"file_name": "b", "width"'), "'file_name' of the obj"),
    "twice, with NaN": (GOOD.replace('"area"', '"area": NaN, "area"'), "key 'area' of the object"),
}


@pytest.mark.parametrize("name", NOT_COCO)
def test_unusable_files(tmp_path: Path, name: str) -> None:
    text, message = NOT_COCO[name]
    with pytest.raises(DataError, match=message) as caught:
        read(tmp_path, text)
    assert str(caught.value).startswith("train.json: ")
    assert str(caught.value).endswith(" the lists 'images', 'annotations' and 'categories'")
    assert "\n" not in str(caught.value)


MALFORMED: dict[str, tuple[str, Any, str]] = {
    "image: id as text": ("images", IMAGE | {"id": "a"}, "id: expected a whole number, got text"),
    "image: half an id": ("images", IMAGE | {"id": 1.5}, "whole number, got one with a point"),
    "image: negative id": ("images", IMAGE | {"id": -1}, "id: expected a whole number >= 0"),
    "image: huge id": ("images", IMAGE | {"id": 2**53 + 1}, "number <= 9007199254740992"),
    "image: beyond 64 bits": ("images", IMAGE | {"id": 10**30}, "id: "),
    "image: thousands of digits": ("images", IMAGE | {"id": LONG}, "id: "),
    "object: thousands of digits": ("annotations", OBJECT | {"image_id": LONG}, "image_id: "),
    "image: no id": ("images", {"file_name": "a"}, "has no id"),
    "image: no name": ("images", {"id": 1}, "has no file_name"),
    "image: null": ("images", None, "expected an object, got null"),
    "image: name alone": ("images", "a.jpg", "expected an object, got text"),
    "image: name is null": ("images", IMAGE | {"file_name": None}, "text, got null"),
    "image: name of digits": ("images", IMAGE | {"file_name": 1}, "text, got a whole number"),
    "image: negative side": ("images", IMAGE | {"width": -9}, "width: expected a whole number >="),
    "object: text": ("annotations", "box", "expected an object, got text"),
    "object: no image": ("annotations", {"id": 1, "category_id": 2}, "has no image_id"),
    "object: no id": ("annotations", {"image_id": 1, "category_id": 2}, "has no id"),
    "object: category name": ("annotations", OBJECT | {"category_id": "cat"}, "number, got text"),
    "object: bbox is null": ("annotations", OBJECT | {"bbox": None}, "bbox: expected a list, "),
    "object: no list": (
        "annotations",
        OBJECT | {"bbox": {"x": 1}},
        "bbox: expected a list, got an o",
    ),
    "object: bbox of words": ("annotations", OBJECT | {"bbox": ["a"] * 4}, "bbox[0]: expected a n"),
    "object: crowd is text": (
        "annotations",
        OBJECT | {"iscrowd": "no"},
        "iscrowd: expected 0 or 1",
    ),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_entries(tmp_path: Path, name: str) -> None:
    key, entry, detail = MALFORMED[name]
    text = content(**{key: [entry]}).replace(f'"{LONG}"', LONG)
    file, findings = read(tmp_path, text)
    code = "image_malformed" if key == "images" else "object_malformed"
    assert findings.counts == {code: 1}
    assert findings.listed[0].place == f"train.json: $.{key}[0]"
    assert detail in findings.listed[0].detail
    assert len(file.images) + len(rows(file)) == 1
    assert file.num_listed == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"images": [IMAGE | {"id": 1.0}]},
        {"images": [IMAGE | {"width": 9.0}]},
        {"annotations": [OBJECT | {"image_id": 1.0}]},
        {"annotations": [OBJECT | {"id": 5.0, "iscrowd": 0.0}]},
        {"categories": [CATEGORY | {"id": 2.0}]},
        {"categories": [CATEGORY | {"id": "2"}]},
        {"images": [IMAGE | {"id": "01", "width": "9.0"}]},
        {"annotations": [OBJECT | {"bbox": ["1", 2.0, "3", "4.0"], "category_id": "2"}]},
    ],
)
def test_numbers_written_with_a_point_or_as_text_are_taken(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    expected, _ = read(tmp_path, GOOD)
    file, findings = read(tmp_path, content(**changes))
    assert findings.counts == {"number_rewritten": 1}
    assert (file.images, file.categories) == (expected.images, expected.categories)
    assert rows(file) == rows(expected)


@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbf" + GOOD.encode(),
        GOOD.replace('"area": 6, ', ""),
        GOOD.replace(', "iscrowd": 0', ""),
        GOOD.replace('"area": 6', '"area": null'),
        content(info={"bbox": 1, "image_id": [{"image_id": 2}]}),
        content(annotations=[OBJECT | {"segmentation": {"counts": [1], "size": [9, 8]}}]),
        content(annotations=[OBJECT | {"attributes": {"id": 1, "id2": 2}, "score": 1e5}]),
        GOOD.replace(":", "\r\n\t:"),
    ],
)
def test_valid_variants(tmp_path: Path, text: str | bytes) -> None:
    file, findings = read(tmp_path, text)
    assert not findings.counts
    assert rows(file) in [[(5, 1, 2, [1, 2, 4, 6], area, False)] for area in (6, 12)]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", LONG])
def test_numbers_that_are_not_finite_reach_the_checks(tmp_path: Path, number: str) -> None:
    file, findings = read(tmp_path, GOOD.replace("[1, 2", f"[{number}, 2"))
    is_refused = findings.counts == {"object_malformed": 1}
    assert is_refused or not (findings.counts or np.isfinite(file.annotations.boxes).all())


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
def test_every_encoding_is_recognised(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "train.json").write_bytes(GOOD.encode(encoding))
    found = coco.find_places(FolderSource(tmp_path))
    assert found == ([] if encoding == "utf-16-le" else ["train.json"])


CATEGORIES = [{"id": 2, "name": "}, {"}]
POLYGONS = {"segmentation": [[1.5, 2, 3, 4], [5, 6]]}
RLE = {"segmentation": {"counts": [1, 2], "size": [3, 4]}, "iscrowd": 1}
TEXT = {"caption": 'a "}, {" b }], "annotations": ['}
NESTED = {"parts": [{"id": 1}, {"id": 2}], "last": {"annotations": [{"id": 9}]}}


def annotation(number: int, **more: Any) -> dict[str, Any]:
    plain = {"id": number, "image_id": 1, "category_id": 2, "bbox": [number, 1, 2.5, 3]}
    return {**more, **plain, "area": number / 2} if number % 2 else {**plain, **more}


@pytest.mark.parametrize("order", ["iac", "aic", "ica"])
@pytest.mark.parametrize("extra", [{}, POLYGONS, RLE, TEXT, NESTED])
def test_all_objects_are_read_wherever_a_piece_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: str, extra: dict[str, Any]
) -> None:
    annotations = [annotation(number, **extra) for number in range(8)]
    parts = {"images": [IMAGE], "annotations": annotations, "categories": CATEGORIES}
    whole = {key: parts[key] for letter in order for key in parts if key[0] == letter}
    expected = [
        (n, 1, 2, [n, 1, n + 2.5, 4], n / 2 if n % 2 else 7.5, "iscrowd" in extra) for n in range(8)
    ]
    for piece_bytes in (1, 60, 300, 2**22):
        monkeypatch.setattr(coco_file, "_PIECE_BYTES", piece_bytes)
        for indent in (None, 1):
            file, findings = read(tmp_path, json.dumps({"info": {}} | whole, indent=indent))
            assert rows(file) == expected
            assert [image.file_name for image in file.images.values()] == ["a.jpg"]
            assert [category.name for category in file.categories] == ["}, {"]
            assert not findings.counts


def test_a_list_of_the_same_name_elsewhere(tmp_path: Path) -> None:
    own = json.dumps([annotation(1)])
    rest = f'"images": {json.dumps([IMAGE])}, "categories": {json.dumps(CATEGORIES)}'
    expected, _ = read(tmp_path, f'{{"annotations": {own}, {rest}}}')
    nested = f'"info": {{"annotations": {own}}}'
    assert rows(read(tmp_path, f'{{{nested}, "annotations": [], {rest}}}')[0]) == []
    for other in (json.dumps([annotation(3)]), "[]"):
        for text in (
            f'{{"info": {{"annotations": {other}}}, "annotations": {own}, {rest}}}',
            f'{{"annotations": {own}, {rest}, "info": {{"annotations": {other}}}}}',
        ):
            assert rows(read(tmp_path, text)[0]) == rows(expected)
        with pytest.raises(DataError, match="the key 'annotations' occurs twice"):
            read(tmp_path, f'{{"annotations": {other}, "annotations": {own}, {rest}}}')


@pytest.mark.parametrize("piece_bytes", [1, 2**22])
def test_a_mistake_is_reported_with_its_place_in_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece_bytes: int
) -> None:
    monkeypatch.setattr(coco_file, "_PIECE_BYTES", piece_bytes)
    annotations = [annotation(number) for number in range(8)]
    whole = {"annotations": annotations, "images": [IMAGE], "categories": CATEGORIES}
    annotations[2]["bbox"] = "none"
    annotations[6]["bbox"] = [1, "b", 3, 4]
    file, findings = read(tmp_path, json.dumps(whole))
    assert [row[0] for row in rows(file)] == [0, 1, 3, 4, 5, 7]
    assert {fault.image_id for fault in file.faults} == {1}
    places = [finding.place for finding in findings.listed]
    assert places == ["train.json: $.annotations[2]", "train.json: $.annotations[6]"]
    assert findings.listed[1].detail == "bbox[1]: expected a number, got text"
    text = json.dumps(whole, indent=0)
    line = text[: text.index('"images"')].count("\n") + 1
    with pytest.raises(DataError, match=f"line {line} column 10"):
        read(tmp_path, text.replace('"images":', '"images"'))
