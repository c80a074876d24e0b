"""Whatever is wrong with a data set: what is listed is kept, or a finding counts it."""

import json
from collections import Counter
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssd_core.config import ConvertConfig, Policy
from ssd_core.data.checking.listing import check_listing
from ssd_core.data.checking.samples import check_sample
from ssd_core.data.findings import DROP_BOX, RULES, Findings
from ssd_core.data.formats import read_dataset
from ssd_core.structures import Sample
from tests.data.formats.memory_source import MemorySource
from tests.data.image_corpus import PNG, SIZE

WIDTH, HEIGHT = SIZE
BOXES = {
    "sound": (2, 1, 8, 7),
    "another": (3, 2, 9, 9),
    "whole image": (0, 0, WIDTH, HEIGHT),
    "no area": (4, 4, 4, 8),
    "upside down": (8, 8, 4, 4),
    "outside": (WIDTH + 5, 1, WIDTH + 9, 5),
    "partly outside": (5, 5, WIDTH + 7, 9),
    "no number": (float("nan"), 1, 5, 5),
}
CLASSES = ("cat", "dog")


class Photo(NamedTuple):
    """An entry of a listing; objects are the name of a box and the number of a class."""

    name: str
    objects: list[tuple[str, int]]
    fault: str
    """Of the whole entry, see ENTRY_FAULTS."""


ENTRY_FAULTS = ("", "", "", "missing", "empty", "damaged", "unsafe", "bad objects", "no text")
OBJECT = st.tuples(st.sampled_from(sorted(BOXES)), st.sampled_from([0, 0, 1, 7]))
LISTING = st.lists(
    st.builds(
        Photo,
        st.sampled_from(["a", "b", "c", "d"]),  # the same name twice is a fault, too
        st.lists(OBJECT, max_size=4),
        st.sampled_from(ENTRY_FAULTS),
    ),
    min_size=1,
    max_size=6,
)
FIRST = Photo("first", [("sound", 0), ("another", 1)], "")
"""Sound, so that there always is a data set."""


def image_name(photo: Photo) -> str:
    return f"../{photo.name}.png" if photo.fault == "unsafe" else f"{photo.name}.png"


def pictures(listing: list[Photo], folder: str = "") -> dict[str, bytes]:
    contents = {"empty": b"", "damaged": PNG[:-20]}
    return {
        f"{folder}{photo.name}.png": contents.get(photo.fault, PNG)
        for photo in listing
        if photo.fault != "missing"
    }


def one_of_each_name(listing: list[Photo]) -> list[Photo]:
    return list({photo.name: photo for photo in listing}.values())


def coco(listing: list[Photo]) -> dict[str, bytes]:
    """Ids are numbered by name, so that a name twice is an id twice."""
    ids = {name: number for number, name in enumerate(sorted({p.name for p in listing}))}
    owners = {photo.name: photo for photo in reversed(listing)}  # of two the first has the objects
    rows = [
        {"image_id": ids[photo.name], "category_id": k, "bbox": bbox(*BOXES[box])}
        | ({"iscrowd": "no"} if photo.fault == "bad objects" else {})
        for photo in owners.values()
        for box, k in photo.objects
    ]
    content = {
        "images": [{"id": ids[p.name], "file_name": image_name(p)} for p in listing],
        "annotations": [row | {"id": number} for number, row in enumerate(rows)],
        "categories": [{"id": k, "name": name} for k, name in enumerate(CLASSES)],
    }
    return {"train.json": json.dumps(content).encode()} | pictures(listing)


def bbox(x0: float, y0: float, x1: float, y1: float) -> list[float]:
    return [x0, y0, x1 - x0, y1 - y0]


def voc(listing: list[Photo]) -> dict[str, bytes]:
    files = {}
    for photo in one_of_each_name(listing):
        text = "".join(
            f"<object><name>{CLASSES[k % 2]}</name><bndbox>"
            + "".join(
                f"<{key}>{'x' if photo.fault == 'bad objects' else value}</{key}>"
                for key, value in zip(("xmin", "ymin", "xmax", "ymax"), BOXES[box], strict=True)
            )
            + "</bndbox></object>"
            for box, k in photo.objects
        )
        end = "" if photo.fault == "no text" else "</annotation>"
        files[f"Annotations/{photo.name}.xml"] = f"<annotation>{text}{end}".encode()
    files["ImageSets/Main/train.txt"] = "\n".join(photo.name for photo in listing).encode()
    return files | pictures(listing, "JPEGImages/")


def yolo(listing: list[Photo]) -> dict[str, bytes]:
    files = {"data.yaml": b"train: train.txt\nnames: [cat, dog]"}
    for photo in one_of_each_name(listing):
        rows = [
            f"{k} {(a + c) / 2 / WIDTH} {(b + d) / 2 / HEIGHT} {(c - a) / WIDTH} {(d - b) / HEIGHT}"
            for box, k in photo.objects
            for a, b, c, d in [BOXES[box]]
        ]
        rows = [row.replace(" ", ",") if photo.fault == "bad objects" else row for row in rows]
        text = "\n".join(rows).encode()
        files[f"labels/{photo.name}.txt"] = text + b"\xff" * (photo.fault == "no text")
    files["train.txt"] = "\n".join(f"images/{photo.name}.png" for photo in listing).encode()
    return files | pictures(listing, "images/")


def txt(listing: list[Photo]) -> dict[str, bytes]:
    lines = [
        " ".join(
            [
                image_name(photo),
                *(
                    ",".join(map(str, [*BOXES[box], k + 1])) + ",x" * (photo.fault == "bad objects")
                    for box, k in photo.objects
                ),
            ]
        )
        for photo in listing
    ]
    return {"train.txt": "\n".join(lines).encode()} | pictures(listing)


WRITERS = {"coco": coco, "voc": voc, "yolo": yolo, "txt": txt}
PLACES = {
    "coco": "train.json",
    "voc": "ImageSets/Main/train.txt",
    "yolo": "data.yaml:train",
    "txt": "train.txt",
}


def convert(source: MemorySource, name: str, policy: Policy) -> tuple[list[Sample], Findings]:
    """Return what is kept of the training split, as a conversion does, and all that was found."""
    findings = Findings(policy)
    classes = CLASSES if name == "txt" else None
    config = ConvertConfig(
        format=name,  # type: ignore[arg-type]
        train=PLACES[name],
        val=PLACES[name],
        policy=policy,
        classes=classes,
    )
    dataset = read_dataset(source, config, findings)
    split = dataset.splits["train"]
    dataset, positions = check_listing(source, dataset, findings)
    kept = []
    for position in positions["train"]:
        sample = dataset.splits["train"].sample(position)
        image = memoryview(source.read(sample.image_path))
        checked = check_sample(sample, image, findings, max_pixels=10_000)
        if checked is not None:
            kept.append(checked)
    assert split.num_listed >= len(split)
    return kept, findings


@pytest.mark.parametrize("policy", ["repair", "skip"])
@pytest.mark.parametrize("name", WRITERS)
@settings(max_examples=60, deadline=None)
@given(listing=LISTING)
def test_what_is_not_kept_is_counted(name: str, policy: Policy, listing: list[Photo]) -> None:
    listing = [FIRST, *listing]
    source = MemorySource(WRITERS[name](listing))
    kept, findings = convert(source, name, policy)

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
            continue  # whose objects a finding is about cannot be said
        dropped = sum(
            # Both splits are this one list: a reader speaks twice, a check of an image once.
            finding.count / (2 if finding.code in OF_READER else 1)
            for finding in findings.listed
            if stem(finding.image) == entries[0].name and RULES[finding.code].repair == DROP_BOX
        )
        assert len(entries[0].objects) == len(sample.annotations) + dropped, findings.listed


OF_READER = {"object_malformed", "class_unknown", "row_twice"}


def stem(path: str) -> str:
    """Return the name without folder and suffix: VOC guesses the suffix of a missing image."""
    return path.rpartition("/")[2].partition(".")[0]
