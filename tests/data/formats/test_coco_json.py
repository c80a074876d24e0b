"""COCO files decoded in pieces: the same objects wherever a piece ends."""

import json
from pathlib import Path
from typing import Any

import pytest

from ssd_core.data.findings import Findings
from ssd_core.data.formats.coco import json_file
from ssd_core.data.formats.coco.json_file import read_coco
from ssd_core.data.sources.folder import FolderSource
from ssd_core.errors import DataError

IMAGES = [{"id": 1, "file_name": "a.jpg", "width": 4, "height": 3}]
CATEGORIES = [{"id": 2, "name": "}, {"}]
POLYGONS = {"segmentation": [[1.5, 2, 3, 4], [5, 6]]}
RLE = {"segmentation": {"counts": [1, 2], "size": [3, 4]}, "iscrowd": 1}
TEXT = {"caption": 'a "}, {" b }], "annotations": ['}
NESTED = {"parts": [{"id": 1}, {"id": 2}], "last": {"annotations": [{"id": 9}]}}


def annotation(number: int, **more: Any) -> dict[str, Any]:
    plain = {"id": number, "image_id": 1, "category_id": 2, "bbox": [number, 1, 2.5, 3]}
    return {**more, **plain, "area": number / 2} if number % 2 else {**plain, **more}


def read(folder: Path, text: str, findings: Findings | None = None) -> list[tuple[Any, ...]]:
    (folder / "train.json").write_text(text)
    file = read_coco(FolderSource(folder), "train.json", findings or Findings("strict"))
    assert [image.file_name for image in file.images] == ["a.jpg"]
    assert [category.name for category in file.categories] == ["}, {"]
    columns = zip(*(column.tolist() for column in file.objects), strict=True)
    return [tuple(None if value != value else value for value in row) for row in columns]


@pytest.mark.parametrize("piece_bytes", [1, 60, 300, 2**22])
@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("order", ["iac", "aic", "ica"])
@pytest.mark.parametrize("extra", [{}, POLYGONS, RLE, TEXT, NESTED])
def test_all_objects_are_read(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    piece_bytes: int,
    indent: int | None,
    order: str,
    extra: dict[str, Any],
) -> None:
    monkeypatch.setattr(json_file, "_PIECE_BYTES", piece_bytes)
    annotations = [annotation(number, **extra) for number in range(8)]
    parts = {"images": IMAGES, "annotations": annotations, "categories": CATEGORIES}
    content = {key: parts[key] for letter in order for key in parts if key[0] == letter}
    assert read(tmp_path, json.dumps({"info": {}} | content, indent=indent)) == [
        (n, 1, 2, [n, 1, 2.5, 3], 4, n / 2 if n % 2 else None, "iscrowd" in extra) for n in range(8)
    ]


def test_a_list_of_the_same_name_elsewhere(tmp_path: Path) -> None:
    own = json.dumps([annotation(1)])
    rest = f'"images": {json.dumps(IMAGES)}, "categories": {json.dumps(CATEGORIES)}'
    expected = read(tmp_path, f'{{"annotations": {own}, {rest}}}')
    nested = f'"info": {{"annotations": {own}}}'
    assert read(tmp_path, f'{{{nested}, "annotations": [], {rest}}}') == []
    for other in (json.dumps([annotation(3)]), "[]"):
        for text in (
            f'{{"info": {{"annotations": {other}}}, "annotations": {own}, {rest}}}',
            f'{{"annotations": {own}, {rest}, "info": {{"annotations": {other}}}}}',
        ):
            assert read(tmp_path, text) == expected
        with pytest.raises(DataError, match="the key 'annotations' is there twice"):
            read(tmp_path, f'{{"annotations": {other}, "annotations": {own}, {rest}}}')


@pytest.mark.parametrize("piece_bytes", [1, 2**22])
def test_a_mistake_is_named_with_its_place_in_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece_bytes: int
) -> None:
    monkeypatch.setattr(json_file, "_PIECE_BYTES", piece_bytes)
    annotations = [annotation(number) for number in range(8)]
    content = {"annotations": annotations, "images": IMAGES, "categories": CATEGORIES}
    annotations[6]["bbox"] = [1, "2"]
    findings = Findings("repair")
    assert len(read(tmp_path, json.dumps(content), findings)) == 7
    assert findings.counts == {"object_malformed": 1}
    assert findings.listed[0].place == "train.json: $.annotations[6]"
    assert findings.listed[0].detail == "expected float, got str at $.bbox[1]"
    annotations[6]["bbox"] = []
    text = json.dumps(content, indent=0)
    line = text[: text.index('"images"')].count("\n") + 1
    with pytest.raises(DataError, match=f"line {line} column 10"):
        read(tmp_path, text.replace('"images":', '"images"'))
