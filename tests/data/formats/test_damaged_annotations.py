"""Annotations damaged at random: the answer is findings or an error of ours, never a crash."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssd_core.config import ConvertConfig
from ssd_core.data.checking.dataset import check_dataset
from ssd_core.data.checking.listing import check_listing
from ssd_core.data.findings import RULES, Findings
from ssd_core.data.formats import read_dataset
from ssd_core.errors import SsdError, UsageError
from tests.data.formats.small_sources import MemorySource
from tests.data.image_corpus import PNG
from tests.fuzz.mutations import ANYTHING, EDITS, Edits, change_bytes, examples

COCO: dict[str, Any] = {
    "images": [{"id": 1, "file_name": "a.jpg", "width": 20, "height": 10}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "area": 1.5, "iscrowd": 0}
    ],
    "categories": [{"id": 1, "name": "cat"}],
}
VOC = (
    "<annotation><filename>a.jpg</filename><size><width>20</width><height>10</height></size>"
    "<object><name>cat</name><difficult>0</difficult><bndbox><xmin>1</xmin><ymin>2</ymin>"
    "<xmax>3</xmax><ymax>4</ymax></bndbox></object></annotation>"
)
YAML = "path: .\ntrain: train\nval: [train]\nnames:\n  0: cat\n  1: dog\n"
LABELS = b"0 0.5 0.5 0.25 0.5\n1 0.25 0.75 0.5 0.5\n"
GOOD: dict[str, tuple[str, dict[str, bytes]]] = {
    "coco": ("train.json", {"train.json": json.dumps(COCO).encode(), "a.jpg": PNG}),
    "voc": ("train", {"train/a.xml": VOC.encode(), "train/a.jpg": PNG}),
    "yolo": ("train", {"train/a.txt": LABELS, "train/a.jpg": PNG}),
    "yolo, described": (
        "data.yaml:train",
        {"data.yaml": YAML.encode(), "train/a.txt": LABELS, "train/a.jpg": PNG},
    ),
    "txt": ("train.txt", {"train.txt": b"a.jpg 1,2,3,4,1 5,6,7,8,2\n", "a.jpg": PNG}),
}
"""Place of the split and files, the damaged one first."""


def answer(name: str, files: dict[str, bytes]) -> None:
    """Read and check a data set under every policy; every error must be one of ours."""
    place, _ = GOOD[name]
    source = MemorySource(files)
    format_name = name.partition(",")[0]
    messages = []
    for policy in ("strict", "repair", "skip"):
        config = ConvertConfig(format=format_name, train=place, policy=policy)  # type: ignore[arg-type]
        findings = Findings(policy)  # type: ignore[arg-type]
        try:
            dataset = read_dataset(source, config, findings)
            check_listing(source, dataset, findings)
        except SsdError as error:
            messages.append(str(error))
            continue
        assert findings.counts.keys() <= RULES.keys()
        for split in dataset.splits.values():
            assert split.starts[-1] == len(split.annotations)
            assert all(1 <= label <= len(dataset.classes) for label in split.annotations.labels)
            assert all(entry.image_path in source.files for entry in split.images)
    try:
        checked = check_dataset(source, ConvertConfig(train=place, decode_check=True))
        messages += [finding.detail for finding in checked.findings.listed]
    except UsageError as error:
        messages.append(str(error))
    assert not any("\n" in message for message in messages), messages


@pytest.mark.parametrize("name", GOOD)
@examples(100)
@given(edits=EDITS)
def test_changed_bytes(name: str, edits: Edits) -> None:
    files = dict(GOOD[name][1])
    file = next(iter(files))
    answer(name, files | {file: change_bytes(files[file], edits)})


@pytest.mark.parametrize("name", GOOD)
@examples(40)
@given(content=st.one_of(st.binary(max_size=200), st.text(max_size=200).map(str.encode)))
def test_any_bytes(name: str, content: bytes) -> None:
    files = dict(GOOD[name][1])
    answer(name, files | {next(iter(files)): content})


@examples(200)
@given(
    part=st.sampled_from(["images", "annotations", "categories"]),
    key=st.sampled_from(["id", "file_name", "width", "image_id", "category_id", "bbox", "area"]),
    value=ANYTHING,
    copies=st.integers(1, 3),
)
def test_any_value_of_a_coco_entry(part: str, key: str, value: Any, copies: int) -> None:
    entries = [COCO[part][0] | {key: value}, *COCO[part] * (copies - 1)]
    files = GOOD["coco"][1] | {"train.json": json.dumps(COCO | {part: entries}).encode()}
    answer("coco", files)


@examples(60)
@given(part=st.sampled_from(sorted(COCO)), value=ANYTHING)
def test_any_value_of_a_coco_list(part: str, value: Any) -> None:
    content = json.dumps(COCO | {part: value}).encode()
    answer("coco", GOOD["coco"][1] | {"train.json": content})


@examples(100)
@given(key=st.sampled_from(["path", "train", "val", "names", "nc"]), value=ANYTHING)
def test_any_value_of_a_yolo_description(key: str, value: Any) -> None:
    plain = {"path": ".", "train": "train", "val": "train", "names": ["cat", "dog"]}
    content = json.dumps(plain | {key: value}).encode()  # JSON is YAML
    answer("yolo, described", GOOD["yolo, described"][1] | {"data.yaml": content})


NUMBER = st.one_of(st.floats().map(repr), st.integers().map(str), st.text(max_size=3))


@examples(100)
@given(values=st.lists(NUMBER, min_size=5, max_size=5))
def test_any_numbers_of_an_object(values: list[str]) -> None:
    row = " ".join([values[4], *values[:4]])
    answer("yolo", GOOD["yolo"][1] | {"train/a.txt": row.encode()})
    answer("txt", GOOD["txt"][1] | {"train.txt": f"a.jpg {','.join(values)}".encode()})
    text = VOC
    for key, value in zip(("xmin", "ymin", "xmax", "ymax", "name"), values, strict=True):
        shown = value.replace("&", "&amp;").replace("<", "&lt;")
        text = text.replace(f"<{key}>", f"<{key}>{shown}<!-- ", 1).replace(
            f"</{key}>", f" --></{key}>"
        )
    answer("voc", GOOD["voc"][1] | {"train/a.xml": text.encode()})
