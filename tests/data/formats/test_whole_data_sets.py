"""Data sets written in every format: sound ones are read as written, faults never lose anything."""

import json
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssd_core.config import ConvertConfig, Policy
from ssd_core.data.checking.dataset import check_dataset
from ssd_core.data.checking.listing import check_listing
from ssd_core.data.checking.samples import check_sample
from ssd_core.data.findings import DROP_BOX, RULES, Findings
from ssd_core.data.formats import read_dataset
from ssd_core.structures import Sample
from tests.data.formats.small_sources import MemorySource
from tests.data.image_corpus import PNG, SIZE

WIDTH, HEIGHT = SIZE
Box = tuple[float, float, float, float]


class Photo(NamedTuple):
    """An entry of a listing: objects are class number from 0, and xyxy."""

    name: str
    objects: Sequence[tuple[int, Box]]
    fault: str = ""
    """Of the whole entry, see ENTRY_FAULTS."""


def image_name(photo: Photo) -> str:
    return f"../{photo.name}.png" if photo.fault == "unsafe" else f"{photo.name}.png"


def image_files(photos: Sequence[Photo], folder: str = "") -> dict[str, bytes]:
    contents = {"empty": b"", "damaged": PNG[:-20]}
    return {
        f"{folder}{photo.name}.png": contents.get(photo.fault, PNG)
        for photo in photos
        if photo.fault != "missing"
    }


def one_of_each_name(photos: Sequence[Photo]) -> list[Photo]:
    return list({photo.name: photo for photo in photos}.values())


def coco(photos: Sequence[Photo], classes: Sequence[str]) -> dict[str, bytes]:
    """Ids are numbered by name, so that a repeated name is a repeated id."""
    ids = {name: number for number, name in enumerate(sorted({p.name for p in photos}))}
    owners = {photo.name: photo for photo in reversed(photos)}  # of two the first has the objects
    rows = [
        {"image_id": ids[photo.name], "category_id": k, "bbox": [a, b, c - a, d - b]}
        | ({"iscrowd": "no"} if photo.fault == "bad objects" else {})
        for photo in reversed(owners.values())
        for k, (a, b, c, d) in photo.objects
    ]
    content = {
        "images": [{"id": ids[p.name], "file_name": image_name(p)} for p in photos],
        "annotations": [row | {"id": number} for number, row in enumerate(rows)],
        "categories": [{"id": k, "name": name} for k, name in enumerate(classes)],
    }
    text = json.dumps(content, ensure_ascii=len(photos) % 2 == 0)
    return {"train.json": text.encode()} | image_files(photos)


def voc(photos: Sequence[Photo], classes: Sequence[str]) -> dict[str, bytes]:
    files = {}
    for photo in one_of_each_name(photos):
        text = "".join(
            f"<object><name>{escape(classes[k % len(classes)])}</name><bndbox>"
            + "".join(
                f"<{key}>{'x' if photo.fault == 'bad objects' else value}</{key}>"
                for key, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
            )
            + "</bndbox></object>"
            for k, box in photo.objects
        )
        end = "" if photo.fault == "no text" else "</annotation>"
        files[f"Annotations/{photo.name}.xml"] = f"<annotation>{text}{end}".encode()
    files["ImageSets/Main/train.txt"] = "\n".join(photo.name for photo in photos).encode()
    return files | image_files(photos, "JPEGImages/")


def yolo(photos: Sequence[Photo], classes: Sequence[str]) -> dict[str, bytes]:
    described = json.dumps({"train": "train.txt", "names": classes}, ensure_ascii=False)
    files = {"data.yaml": described.encode()}
    for photo in one_of_each_name(photos):
        rows = [
            f"{k} {(a + c) / 2 / WIDTH} {(b + d) / 2 / HEIGHT} {(c - a) / WIDTH} {(d - b) / HEIGHT}"
            for k, (a, b, c, d) in photo.objects
        ]
        rows = [row.replace(" ", ",") if photo.fault == "bad objects" else row for row in rows]
        text = "\n".join(rows).encode()
        files[f"labels/{photo.name}.txt"] = text + b"\xff" * (photo.fault == "no text")
    files["train.txt"] = "\n".join(f"images/{photo.name}.png" for photo in photos).encode()
    return files | image_files(photos, "images/")


def txt(photos: Sequence[Photo], classes: Sequence[str]) -> dict[str, bytes]:
    lines = []
    for photo in photos:
        end = ",x" * (photo.fault == "bad objects")
        objects = [",".join(map(str, [*box, k + 1])) + end for k, box in photo.objects]
        lines.append(" ".join([image_name(photo), *objects]))
    return {"train.txt": "\n".join(lines).encode()} | image_files(photos)


WRITERS = {"coco": coco, "voc": voc, "yolo": yolo, "txt": txt}
PLACES = {
    "coco": "train.json",
    "voc": "ImageSets/Main/train.txt",
    "yolo": "data.yaml:train",
    "txt": "train.txt",
}


def config_of(name: str, classes: Sequence[str], policy: Policy = "strict") -> ConvertConfig:
    wanted = tuple(classes) if name == "txt" else None
    return ConvertConfig(train=PLACES[name], val=PLACES[name], policy=policy, classes=wanted)


WORD = st.text(st.characters(categories=["L", "Nd"]), min_size=1, max_size=6).filter(
    lambda word: not word.isdecimal()  # a number would be one of TXT's own names
)
NAME = st.lists(WORD, min_size=1, max_size=3).map(" ".join)
SOUND_BOX = st.tuples(
    st.integers(0, WIDTH - 2), st.integers(0, HEIGHT - 2), st.integers(1, 19), st.integers(1, 9)
).map(lambda box: (*box[:2], min(box[0] + box[2], WIDTH), min(box[1] + box[3], HEIGHT)))


@st.composite
def sound_data_set(draw: st.DrawFn) -> tuple[list[Photo], list[str]]:
    classes = draw(st.lists(NAME, min_size=1, max_size=4, unique=True))
    names = draw(st.lists(NAME, min_size=1, max_size=4, unique_by=str.casefold))
    item = st.tuples(st.integers(0, len(classes) - 1), SOUND_BOX)
    photos = [Photo(name, draw(st.lists(item, max_size=4, unique=True))) for name in names]
    every_class = [(number, (0, 0, 5, 5)) for number in range(len(classes))]
    return [*photos, Photo("last.one", every_class)], classes


@pytest.mark.parametrize("name", WRITERS)
@settings(max_examples=60, deadline=None)
@given(data=sound_data_set())
def test_a_sound_data_set_is_read_as_written(
    name: str, data: tuple[list[Photo], list[str]]
) -> None:
    photos, classes = data
    source = MemorySource(WRITERS[name](photos, classes))
    findings = Findings("strict")
    dataset = read_dataset(source, config_of(name, classes), findings)
    assert dataset.format == name
    assert not findings.counts
    names = {info.label: info.name for info in dataset.classes}
    split = dataset.splits["train"]
    found = {}
    for sample in (split.sample(index) for index in range(len(split))):
        scale = np.array([WIDTH, HEIGHT] * 2) if sample.is_normalised else 1
        boxes = (sample.annotations.boxes * scale).round(4).tolist()
        labels = [names[label] for label in sample.annotations.labels.tolist()]
        found[sample.image_path.rpartition("/")[2]] = list(
            zip(labels, map(tuple, boxes), strict=True)
        )
    assert found == {
        f"{photo.name}.png": [(classes[k], box) for k, box in photo.objects] for photo in photos
    }
    checked = check_dataset(source, config_of(name, classes))
    assert checked.findings.num_errors == 0
    assert checked.splits["train"].images == len(photos)
    assert checked.splits["train"].objects == len(split.annotations)


BOXES: list[Box] = [
    (2, 1, 8, 7),
    (3, 2, 9, 9),
    (0, 0, WIDTH, HEIGHT),
    (4, 4, 4, 8),  # no area
    (8, 8, 4, 4),  # upside down
    (WIDTH + 5, 1, WIDTH + 9, 5),  # outside
    (5, 5, WIDTH + 7, 9),  # partly outside
    (float("nan"), 1, 5, 5),
]
ENTRY_FAULTS = ("", "", "", "missing", "empty", "damaged", "unsafe", "bad objects", "no text")
LISTING = st.lists(
    st.builds(
        Photo,
        st.sampled_from(["a", "b", "c", "d"]),  # a repeated name is a fault, too
        st.lists(st.tuples(st.sampled_from([0, 0, 1, 7]), st.sampled_from(BOXES)), max_size=4),
        st.sampled_from(ENTRY_FAULTS),
    ),
    min_size=1,
    max_size=6,
)
FIRST = Photo("first", [(0, BOXES[0]), (1, BOXES[1])])
"""Sound, so that there is always a data set."""
OF_READER = {"object_malformed", "class_unknown", "row_twice"}


def convert(source: MemorySource, config: ConvertConfig) -> tuple[list[Sample], Findings]:
    """Return the samples that a conversion keeps of the training split, and all findings."""
    findings = Findings(config.policy)
    dataset = read_dataset(source, config, findings)
    check_listing(source, dataset, findings)
    split = dataset.splits["train"]
    assert split.num_listed >= len(split)
    kept = []
    for sample in map(split.sample, range(len(split))):
        image = memoryview(source.read(sample.image_path))
        checked = check_sample(sample, image, config, findings)
        if checked is not None:
            kept.append(checked)
    return kept, findings


def stem(path: str) -> str:
    """Return the name without folder and suffix: VOC guesses the suffix of a missing image."""
    return path.rpartition("/")[2].partition(".")[0]


@pytest.mark.parametrize("policy", ["repair", "skip"])
@pytest.mark.parametrize("name", WRITERS)
@settings(max_examples=60, deadline=None)
@given(listing=LISTING)
def test_whatever_is_dropped_is_counted(name: str, policy: Policy, listing: list[Photo]) -> None:
    listing, classes = [FIRST, *listing], ["cat", "dog"]
    source = MemorySource(WRITERS[name](listing, classes))
    kept, findings = convert(source, config_of(name, classes, policy))

    kept_names = [stem(sample.image_path) for sample in kept]
    assert len(kept_names) == len(set(kept_names))
    named = Counter(stem(finding.image) for finding in findings.listed)
    lost = Counter(photo.name for photo in listing)
    lost.subtract(kept_names)
    for image, count in lost.items():
        assert 0 <= count <= named[image], f"{image} is lost {count} times: {findings.listed}"

    for sample in kept:
        entries = [photo for photo in listing if photo.name == stem(sample.image_path)]
        if len(entries) > 1:
            continue  # a finding may be about either of them
        dropped = sum(
            # Both splits are this one list: a reader reports twice, a check of an image once.
            finding.count / (2 if finding.code in OF_READER else 1)
            for finding in findings.listed
            if stem(finding.image) == entries[0].name and RULES[finding.code].repair == DROP_BOX
        )
        assert len(entries[0].objects) == len(sample.annotations) + dropped, findings.listed
