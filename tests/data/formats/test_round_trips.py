"""Sound data sets written in every format and read again: the same objects come out."""

import json
from typing import NamedTuple
from xml.sax.saxutils import escape

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssd_core.config import ConvertConfig
from ssd_core.data.checking.dataset import check_dataset
from ssd_core.data.findings import Findings
from ssd_core.data.formats import read_dataset
from tests.data.formats.memory_source import MemorySource
from tests.data.image_corpus import PNG, SIZE

WIDTH, HEIGHT = SIZE
WORD = st.text(st.characters(categories=["L", "Nd"]), min_size=1, max_size=6).filter(
    lambda word: not word.isdecimal()  # a number would be one of TXT's own names
)
NAME = st.lists(WORD, min_size=1, max_size=3).map(" ".join)
BOX = st.tuples(
    st.integers(0, WIDTH - 2), st.integers(0, HEIGHT - 2), st.integers(1, 19), st.integers(1, 9)
).map(lambda box: (*box[:2], min(box[0] + box[2], WIDTH), min(box[1] + box[3], HEIGHT)))


class Photo(NamedTuple):
    """An image with its objects: class number from 0, and xyxy."""

    name: str
    objects: list[tuple[int, tuple[int, int, int, int]]]


class Labelled(NamedTuple):
    """A data set of one split."""

    classes: list[str]
    photos: list[Photo]


@st.composite
def labelled(draw: st.DrawFn) -> Labelled:
    classes = draw(st.lists(NAME, min_size=1, max_size=4, unique=True))
    names = draw(st.lists(NAME, min_size=1, max_size=4, unique_by=str.casefold))
    item = st.tuples(st.integers(0, len(classes) - 1), BOX)
    photos = [Photo(f"{name}.png", draw(st.lists(item, max_size=4, unique=True))) for name in names]
    every_class = [(number, (0, 0, 5, 5)) for number in range(len(classes))]
    return Labelled(classes, [*photos, Photo("last.one.png", every_class)])


def coco(data: Labelled) -> dict[str, str]:
    objects = [(i, k, box) for i, photo in enumerate(data.photos) for k, box in photo.objects]
    content = {
        "images": [{"id": i, "file_name": photo.name} for i, photo in enumerate(data.photos)],
        "annotations": [
            {"id": n, "image_id": i, "category_id": k, "bbox": [a, b, c - a, d - b]}
            for n, (i, k, (a, b, c, d)) in enumerate(objects)
        ],
        "categories": [{"id": k, "name": name} for k, name in enumerate(data.classes)],
    }
    return {"train.json": json.dumps(content, ensure_ascii=len(data.photos) % 2 == 0)}


def voc(data: Labelled) -> dict[str, str]:
    files = {}
    for photo in data.photos:
        objects = "".join(
            f"<object><name>{escape(data.classes[k])}</name><bndbox><xmin>{a}</xmin><ymin>{b}</ymin>"
            f"<xmax>{c}</xmax><ymax>{d}</ymax></bndbox></object>"
            for k, (a, b, c, d) in photo.objects
        )
        files[f"train/{photo.name[:-4]}.xml"] = f"<annotation>{objects}</annotation>"
    return files


def yolo(data: Labelled) -> dict[str, str]:
    files = {"data.yaml": json.dumps({"train": "train", "names": data.classes}, ensure_ascii=False)}
    for photo in data.photos:
        rows = [
            f"{k} {(a + c) / 2 / WIDTH} {(b + d) / 2 / HEIGHT} {(c - a) / WIDTH} {(d - b) / HEIGHT}"
            for k, (a, b, c, d) in photo.objects
        ]
        files[f"train/{photo.name[:-4]}.txt"] = "\n".join(rows)
    return files


def txt(data: Labelled) -> dict[str, str]:
    lines = [
        " ".join([photo.name, *(",".join(map(str, [*box, k + 1])) for k, box in photo.objects)])
        for photo in data.photos
    ]
    return {"train.txt": "\n".join(lines)}


WRITERS = {"coco": coco, "voc": voc, "yolo": yolo, "txt": txt}


@pytest.mark.parametrize("name", WRITERS)
@settings(max_examples=60, deadline=None)
@given(data=labelled())
def test_what_was_written_is_read(name: str, data: Labelled) -> None:
    files = {path: text.encode() for path, text in WRITERS[name](data).items()}
    folder = "train/" if name in {"voc", "yolo"} else ""
    source = MemorySource(files | {f"{folder}{photo.name}": PNG for photo in data.photos})
    place = {"coco": "train.json", "voc": "train", "yolo": "data.yaml:train", "txt": "train.txt"}
    classes = tuple(data.classes) if name == "txt" else None
    config = ConvertConfig(train=place[name], val=place[name], classes=classes)
    findings = Findings("strict")
    dataset = read_dataset(source, config, findings)
    assert dataset.format == name
    assert not findings.counts
    names = {info.label: info.name for info in dataset.classes}
    split = dataset.splits["train"]
    found = {}
    for sample in (split.sample(index) for index in range(len(split))):
        scale = np.array([WIDTH, HEIGHT] * 2) if sample.is_normalised else 1
        boxes = (sample.annotations.boxes * scale).round(4).tolist()
        labels = [names[label] for label in sample.annotations.labels.tolist()]
        found[sample.image_path] = list(zip(labels, map(tuple, boxes), strict=True))
    assert found == {
        f"{folder}{photo.name}": [(data.classes[k], box) for k, box in photo.objects]
        for photo in data.photos
    }
    checked = check_dataset(source, config)
    assert checked.findings.num_errors == 0
    assert checked.splits["train"].images == len(data.photos)
    assert checked.splits["train"].objects == len(split.annotations)
