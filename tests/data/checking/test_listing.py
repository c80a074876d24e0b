"""The checks that open no image: names that are missing, near or unsafe, twins, unused images."""

import shlex
import unicodedata
from collections.abc import Sequence

import pytest

from ssd_core.config import Policy, SplitName
from ssd_core.data.checking.listing import check_listing
from ssd_core.data.findings import Findings
from ssd_core.data.formats.classes import ClassChoice, choose_classes
from ssd_core.data.formats.dataset import (
    ImageEntry,
    LabelledBox,
    ParsedSplit,
    SourceDataset,
    SourceSplit,
    assemble_split,
)
from ssd_core.data.formats.names import find_images, resolve_names
from ssd_core.data.sources.base import Source
from ssd_core.structures import ClassInfo
from tests.data.formats.small_sources import MemorySource

NFC, NFD = (unicodedata.normalize(form, "Käse.jpg") for form in ("NFC", "NFD"))
PLAIN = LabelledBox((0, 0, 1, 1), "c1", 1)
CLASSES = choose_classes({"c1": 1, "c2": 2})


def split_of(
    source: Source, *names: str, place: str = "list", boxes: Sequence[LabelledBox] = ()
) -> SourceSplit:
    matches = enumerate(find_images(source, names, place))
    images = [
        (ImageEntry(i, path, 0, 0, f"line {i}", problem=problem), boxes)
        for i, (path, problem) in matches
    ]
    return assemble_split(ParsedSplit(place, len(names), images), CLASSES)


def check(
    files: list[str],
    listed: dict[SplitName, list[str]],
    policy: Policy = "repair",
    boxes: tuple[LabelledBox, ...] = (PLAIN,),
) -> tuple[dict[str, list[str]], Findings]:
    """Return the paths that are kept, by split, and the findings."""
    findings = Findings(policy)
    source = MemorySource(dict.fromkeys(files, b""))
    splits = {
        name: split_of(source, *names, place=f"{name} list", boxes=boxes)
        for name, names in listed.items()
    }
    dataset = SourceDataset(format="txt", classes=CLASSES.classes, splits=splits)
    dataset = resolve_names(source, dataset, findings)
    check_listing(source, dataset, findings)
    del findings.counts["class_without_objects"]
    paths = {
        name: [entry.image_path for entry in split.images] for name, split in dataset.splits.items()
    }
    return paths, findings


NAMES = {
    "there": ("a.jpg", None, "a.jpg"),
    "with a line break": ("a\nb.jpg", None, "a\nb.jpg"),
    "255 bytes": ("x" * 251 + ".jpg", None, "x" * 251 + ".jpg"),
    "longer": ("x" * 300 + ".jpg", "image_missing", None),
    "missing": ("c.jpg", "image_missing", None),
    "a folder": ("sub", "image_missing", None),
    "empty": ("", "image_path_unsafe", None),
    "upwards": ("../a.jpg", "image_path_unsafe", None),
    "other case": ("A.JPG", "image_name_differs", "a.jpg"),
    "other case, two files": ("TWO.jpg", "image_ambiguous", None),
    "decomposed": (NFD, "image_name_differs", NFC),
}


DIFFERENCES = {"other case": "differ in case", "decomposed": "in Unicode form, NFD and NFC"}


@pytest.mark.parametrize("name", NAMES)
def test_names(name: str) -> None:
    path, code, kept = NAMES[name]
    files = ["a.jpg", "a\nb.jpg", "x" * 251 + ".jpg", "sub/d.jpg", NFC]
    files += ["two.jpg", "Two.jpg", "sound.jpg"]
    paths, findings = check(files, {"train": ["sound.jpg", path]})
    unused = {finding.place for finding in findings.listed if finding.code == "image_not_used"}
    assert ("two.jpg" in unused) is (code != "image_ambiguous")
    del findings.counts["image_not_used"]
    assert findings.counts == ({code: 1} if code else {})
    assert paths == {"train": ["sound.jpg", kept] if kept else ["sound.jpg"]}
    if code:
        assert DIFFERENCES.get(name, "") in findings.listed[0].detail
        assert (findings.listed[0].place, findings.listed[0].image) == ("line 1", kept or path)
        assert check(files, {"train": ["sound.jpg", path]}, "strict")[1].stops
        assert check(files, {"train": ["sound.jpg", path]}, "skip")[0] == {"train": ["sound.jpg"]}


@pytest.mark.parametrize("policy", ["strict", "repair", "skip"])
def test_an_image_counts_once(policy: Policy) -> None:
    paths, findings = check(["a.jpg", "b.jpg"], {"train": ["a.jpg", "b.jpg", "a.jpg"]}, policy)
    assert paths == {"train": ["a.jpg", "b.jpg"]}
    assert findings.counts == {"image_twice": 1}
    assert findings.listed[0].detail == "a.jpg was already listed at line 0"


def test_a_corrected_name_counts_once_too() -> None:
    paths, findings = check(["a.jpg"], {"train": ["A.jpg", "a.jpg"]})
    assert paths == {"train": ["a.jpg"]}
    assert findings.counts == {"image_name_differs": 1, "image_twice": 1}


def test_images_in_both_splits_are_a_warning() -> None:
    names = ["a.jpg", "b.jpg", "c.jpg"]
    paths, findings = check(names, {"train": names, "val": ["b.jpg", "c.jpg"]})
    assert paths == {"train": names, "val": ["b.jpg", "c.jpg"]}
    assert findings.counts == {"image_in_both_splits": 2}
    images = [finding.image for finding in findings.listed]
    assert [image for image in images if image] == ["b.jpg", "c.jpg"]
    assert findings.num_errors == 0


def test_images_that_no_split_uses_are_counted() -> None:
    _, findings = check(["a.jpg", "b.PNG", "list.txt"], {"train": ["a.jpg"]}, "strict")
    assert findings.counts == {"image_not_used": 1}
    assert {finding.image for finding in findings.listed} == {"b.PNG", ""}
    assert not findings.stops


@pytest.mark.parametrize(
    ("boxes", "details"),
    [
        ([PLAIN, LabelledBox((0, 0, 1, 2), "c1", 2), LabelledBox((0, 0, 1, 1), "c2", 3)], []),
        ([PLAIN, PLAIN._replace(number=2, is_difficult=True)], ["object 2 is equal to object 1"]),
        (
            [PLAIN._replace(number=n) for n in (1, 2, 3)],
            ["object 2 is equal to object 1", "object 3 is equal to object 1"],
        ),
        (
            [LabelledBox((float("nan"), 0, 1, 1), "c1", n) for n in (1, 2)],
            ["object 2 is equal to object 1"],
        ),
        ([], []),
    ],
)
def test_equal_objects_of_an_image_are_reported(
    boxes: list[LabelledBox], details: list[str]
) -> None:
    _, findings = check(["a.jpg"], {"train": ["a.jpg"]}, boxes=tuple(boxes))
    twins = [finding for finding in findings.listed if finding.code == "object_twice"]
    assert [finding.detail for finding in twins] == details
    assert all(finding.image == "a.jpg" for finding in twins)


def test_equal_objects_of_two_images_are_valid() -> None:
    assert not check(["a.jpg", "b.jpg"], {"train": ["a.jpg", "b.jpg"]})[1].counts


def test_classes_without_objects_are_reported() -> None:
    _, findings = check(["a.jpg"], {"train": ["a.jpg"]}, "strict")
    assert [(f.code, f.place, f.detail) for f in findings.listed] == [
        ("class_without_objects", "train list", "no usable object of: c2")
    ]
    assert not findings.stops


@pytest.mark.parametrize(
    ("counts", "code", "detail"),
    [
        ({"cat": 4, "dog": 1, "Cat": 1}, "class_names_similar", "--classes cat,dog,Cat=cat"),
        ({"cat ": 1, "cat": 4}, "class_names_similar", "'cat ' (1 x), 'cat' (4 x); to join"),
        ({"cat ": 1, "cat": 4}, "class_names_similar", "FILE with all classes, one per line, and"),
        ({NFD: 1, NFC: 0}, "class_names_similar", f"--classes {shlex.quote(f'{NFD},{NFC}={NFD}')}"),
        ({"a, b": 2, "A, B": 1}, "class_names_similar", "FILE with all classes, one per line, and"),
        ({"cat": 200, "dgo": 1}, "class_rare", "1 of 201 objects is of class 'dgo'"),
        ({"cat": 5, "dog": 1, "catdog": 1, "": 1}, None, ""),
    ],
)
def test_names_that_may_be_slips(counts: dict[str, int], code: str | None, detail: str) -> None:
    choice = ClassChoice(
        tuple(ClassInfo(label=k, name=n, category_id=k) for k, n in enumerate(counts, start=1)),
        {name: k for k, name in enumerate(counts, start=1)},
    )
    names = [name for name, count in counts.items() for _ in range(count)]
    boxes = [LabelledBox((0, 0, 1, n), name, n) for n, name in enumerate(names, start=1)]
    entry = ImageEntry(0, "a.jpg", 0, 0, "line 1")
    split = assemble_split(ParsedSplit("list", 1, [(entry, boxes)]), choice)
    findings = Findings("strict")
    dataset = SourceDataset(format="txt", classes=choice.classes, splits={"train": split})
    check_listing(MemorySource({"a.jpg": b""}), dataset, findings)
    found = [item for item in findings.listed if item.code != "class_without_objects"]
    assert [item.code for item in found] == ([code] if code else [])
    assert all(detail in item.detail for item in found)
    assert not findings.stops


def test_unusable_files_are_counted() -> None:
    findings = Findings("strict")
    source = MemorySource({"a.jpg": b""})
    source.unusable = {"far": "is a link"}
    dataset = SourceDataset(format="txt", classes=(), splits={"val": split_of(source, "a.jpg")})
    check_listing(source, dataset, findings)
    assert findings.counts == {"file_not_read": 1}
    assert (findings.listed[0].place, findings.listed[0].detail) == ("far", "is a link")
