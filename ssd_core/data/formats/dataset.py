"""The result of every format reader: the classes, and per split the images with annotations."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from ssd_core.config import SplitName
from ssd_core.data.findings import Findings
from ssd_core.data.formats.classes import ClassChoice
from ssd_core.errors import DataError
from ssd_core.structures import Annotations, ClassInfo, IntArray, Sample, make_annotations


class Problem(NamedTuple):
    """Why an object or an image cannot be used, or only under `repair`."""

    code: str
    """A key of RULES."""
    detail: str


class ImageEntry(NamedTuple):
    """One image of a split; the first fields are those of `Sample`."""

    image_id: int
    image_path: str
    width: int
    height: int
    place: str
    listed: str = ""
    """Line of the list that names the image, if `place` is another file."""
    problem: Problem | None = None
    """Of its name."""


class LabelledBox(NamedTuple):
    """One object, for formats that keep objects image by image."""

    box: tuple[float, float, float, float]
    """xyxy in pixels, or in [0, 1] of the image."""
    class_name: str
    number: int
    """Of the object in its image from 1, or of its line."""
    is_difficult: bool = False
    problem: Problem | None = None
    """Of a box that is usable under `repair`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSplit:
    """One split without its image files. Image i has the objects starts[i] to starts[i + 1]."""

    place: str
    """Where it was found in the source."""
    images: Sequence[ImageEntry]
    annotations: Annotations
    """The objects of all images, in their order."""
    starts: IntArray
    """[N + 1] first object of each image, and the number of all."""
    num_listed: int
    """Images that the source lists, including those that the reader dropped."""
    is_normalised: bool = False
    """True if boxes are in [0, 1] of their image, whose size the reader does not have."""
    object_word: str = "object"
    """Unit of the numbers in `box_ids`: an object of its image, a line, an annotation."""
    class_names: Sequence[str] = ()
    """In label order, for messages."""

    def __len__(self) -> int:
        return len(self.images)

    def sample(self, index: int) -> Sample:
        """Return image `index` with its objects."""
        start, end = self.starts[index : index + 2]
        entry = self.images[index]
        return Sample(
            image_id=entry.image_id,
            image_path=entry.image_path,
            width=entry.width,
            height=entry.height,
            annotations=self.annotations.select(slice(start, end)),
            place=entry.place,
            is_normalised=self.is_normalised,
            object_word=self.object_word,
            class_names=self.class_names,
        )

    def select(self, indices: Sequence[int]) -> "SourceSplit":
        """Return the split of the images `indices` alone; all of them count as listed."""
        counts = np.diff(self.starts)[list(indices)]
        rows = [np.arange(self.starts[i], self.starts[i + 1]) for i in indices]
        return replace(
            self,
            images=[self.images[i] for i in indices],
            annotations=self.annotations.select(np.concatenate([np.zeros(0, np.int64), *rows])),
            starts=np.concatenate([[0], np.cumsum(counts)]),
            num_listed=len(indices),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceDataset:
    """A data set as a reader found it."""

    format: str
    classes: tuple[ClassInfo, ...]
    splits: Mapping[SplitName, SourceSplit]


class ParsedSplit(NamedTuple):
    """One split of a format that keeps objects image by image."""

    place: str
    num_listed: int
    images: Sequence[tuple[ImageEntry, Sequence[LabelledBox]]]
    is_normalised: bool = False
    object_word: str = "object"


Rows = Iterable[tuple[str, LabelledBox | Problem]]
"""Place of each object, and the object or its problem."""


def collect_boxes(rows: Rows, image: str, findings: Findings) -> list[LabelledBox] | None:
    """Return the sound objects of an image, or None if a problem drops the image."""
    boxes = []
    place, is_dropped = "", False
    for place, item in rows:
        problem = item.problem if isinstance(item, LabelledBox) else item
        if problem is not None:
            is_dropped |= findings.add(problem.code, place, problem.detail, image=image)
        if isinstance(item, LabelledBox):
            boxes.append(item)
    if place and not boxes and not is_dropped:
        is_dropped = findings.drop_emptied(place, image)
    return None if is_dropped else boxes


def without_repeats(rows: Rows) -> Rows:
    """Replace each object that equals an earlier one of its image by a problem."""
    places: dict[tuple[Any, ...], str] = {}
    for place, item in rows:
        if isinstance(item, LabelledBox):
            first = places.setdefault((item.box, item.class_name), place)
            if first is not place:
                item = Problem("row_twice", f"the same object is already at {first}")
        yield place, item


def assemble_dataset(
    name: str, splits: Mapping[SplitName, ParsedSplit], choice: ClassChoice, findings: Findings
) -> SourceDataset:
    """Join images and objects; objects of classes that were not chosen are left out and counted."""
    if not choice.classes:
        places = " and ".join(split.place for split in splits.values())
        first = [f"; found: {item.place}: {item.detail}" for item in findings.listed[:1]]
        raise DataError(
            f"{places}: no object has a class; expected at least one object{''.join(first)}"
        )
    for split in splits.values():
        report_left_out(count_classes([split]), choice, split.place, findings)
    return SourceDataset(
        format=name,
        classes=choice.classes,
        splits={key: assemble_split(split, choice) for key, split in splits.items()},
    )


def count_classes(splits: Iterable[ParsedSplit]) -> Counter[str]:
    """Return the number of objects of each class."""
    return Counter(box.class_name for split in splits for _, boxes in split.images for box in boxes)


def report_left_out(
    counts: Mapping[str, int], choice: ClassChoice, place: str, findings: Findings
) -> None:
    """Record the number of objects of each class that was not chosen."""
    for name, count in sorted(counts.items()):
        if name not in choice.labels:
            detail = f"{count} objects of class '{name}', which is not in --classes"
            findings.add("class_left_out", place, detail, count=count)


def assemble_split(split: ParsedSplit, choice: ClassChoice) -> SourceSplit:
    """Join images and objects; those without label are left out."""
    labels = choice.labels
    boxes, counts = [], []
    for _, objects in split.images:
        kept = [item for item in objects if item.class_name in labels]
        boxes += kept
        counts.append(len(kept))
    with np.errstate(over="ignore", invalid="ignore"):  # the checks find values that are not finite
        annotations = make_annotations(
            [item.box for item in boxes],
            [labels[item.class_name] for item in boxes],
            is_difficult=[item.is_difficult for item in boxes],
            box_ids=[item.number for item in boxes],
        )
    return SourceSplit(
        place=split.place,
        images=[entry for entry, _ in split.images],
        annotations=annotations,
        starts=np.cumsum([0, *counts], dtype=np.int64),
        num_listed=split.num_listed,
        is_normalised=split.is_normalised,
        object_word=split.object_word,
        class_names=[info.name for info in choice.classes],
    )
