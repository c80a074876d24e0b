"""What every format reader returns: the classes, and for each split its images with annotations."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ssd_core.config import SplitName
from ssd_core.data.findings import Findings
from ssd_core.data.formats.classes import ClassChoice, ClassKey
from ssd_core.errors import DataError
from ssd_core.structures import Annotations, ClassInfo, IntArray, Sample, make_annotations


class ImageEntry(NamedTuple):
    """One image of a split; the fields are those of `Sample`."""

    image_id: int
    image_path: str
    width: int
    height: int
    place: str


class LabelledBox(NamedTuple):
    """One object, for formats that keep objects image by image."""

    box: tuple[float, float, float, float]
    """xyxy in pixels, or in [0, 1] of the image."""
    class_key: ClassKey
    """Name or number of the class, as the source says it."""
    is_difficult: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSplit:
    """One split: everything but the images. Image i has the objects starts[i] to starts[i + 1]."""

    place: str
    """Where it was found inside the source."""
    images: Sequence[ImageEntry]
    annotations: Annotations
    """The objects of all images, in their order."""
    starts: IntArray
    """[N + 1] first object of each image, and the number of all."""
    num_listed: int
    """Images that the source lists, those included that could not even be named here."""
    is_normalised: bool = False
    """True where boxes are in [0, 1] of their image, whose size the reader does not know."""

    def __len__(self) -> int:
        return len(self.images)

    def sample(self, index: int) -> Sample:
        """Return image `index` with its objects."""
        start, end = self.starts[index : index + 2]
        return Sample(
            **self.images[index]._asdict(),
            annotations=self.annotations.select(slice(start, end)),
            is_normalised=self.is_normalised,
        )

    def select(self, indices: Sequence[int]) -> "SourceSplit":
        """Return the split of the images `indices` alone; all of them count as listed."""
        counts = np.diff(self.starts)[list(indices)]
        rows = [np.arange(self.starts[i], self.starts[i + 1]) for i in indices]
        return SourceSplit(
            place=self.place,
            images=[self.images[i] for i in indices],
            annotations=self.annotations.select(np.concatenate([np.zeros(0, np.int64), *rows])),
            starts=np.concatenate([[0], np.cumsum(counts)]),
            num_listed=len(indices),
            is_normalised=self.is_normalised,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceDataset:
    """A data set as a reader found it."""

    format: str
    classes: tuple[ClassInfo, ...]
    splits: Mapping[SplitName, SourceSplit]


class Problem(NamedTuple):
    """Why an object cannot be used."""

    code: str
    """A key of RULES."""
    detail: str


def collect_boxes(
    rows: Iterable[tuple[str, LabelledBox | Problem]], image: str, findings: Findings
) -> tuple[list[LabelledBox], bool]:
    """Return the sound objects of an image, each once, and whether the image is dropped.

    Args:
        rows: what was read, and where.
        image: path of the image.
        findings: takes the others.
    """
    places: dict[LabelledBox, str] = {}
    is_dropped = False
    for place, item in rows:
        if isinstance(item, LabelledBox) and item not in places:
            places[item] = place
            continue
        if isinstance(item, LabelledBox):
            item = Problem("row_twice", f"the same object is already at {places[item]}")
        is_dropped |= findings.add(item.code, place, item.detail, image=image)
    return list(places), is_dropped


class ParsedSplit(NamedTuple):
    """One split of a format that keeps objects image by image."""

    place: str
    num_listed: int
    images: Sequence[tuple[ImageEntry, Sequence[LabelledBox]]]
    is_normalised: bool = False


def assemble_dataset(
    name: str, splits: Mapping[SplitName, ParsedSplit], choice: ClassChoice, findings: Findings
) -> SourceDataset:
    """Join images and objects; objects of classes that nobody asked for are left out and counted.

    Args:
        name: of the format.
        splits: as a reader has parsed them.
        choice: the classes.
        findings: takes what is left out.

    Raises:
        DataError: there is no class.
    """
    if not choice.classes:
        places = " and ".join(split.place for split in splits.values())
        first = [f"; found: {item.place}: {item.detail}" for item in findings.listed[:1]]
        raise DataError(
            f"{places}: no object names a class; expected at least one object{''.join(first)}"
        )
    for split in splits.values():
        keys = (item.class_key for _, boxes in split.images for item in boxes)
        report_left_out(Counter(keys), choice, split.place, findings)
    return SourceDataset(
        format=name,
        classes=choice.classes,
        splits={key: assemble_split(split, choice.labels) for key, split in splits.items()},
    )


def report_left_out(
    counts: Mapping[ClassKey, int], choice: ClassChoice, place: str, findings: Findings
) -> None:
    """Count the objects of the classes that nobody asked for, class by class."""
    for key, count in sorted(counts.items()):
        if key not in choice.labels:
            name = choice.names.get(key, key)
            detail = f"{count} objects of class '{name}', which --classes does not name"
            findings.add("class_left_out", place, detail, count=count)


def assemble_split(split: ParsedSplit, labels: Mapping[ClassKey, int]) -> SourceSplit:
    """Join images and objects; objects are numbered from 1, those of no label are left out."""
    entries, boxes, counts = [], [], []
    for entry, objects in split.images:
        kept = [item for item in objects if item.class_key in labels]
        entries.append(entry)
        boxes += kept
        counts.append(len(kept))
    with np.errstate(over="ignore", invalid="ignore"):  # the checks find what is not finite
        annotations = make_annotations(
            [item.box for item in boxes],
            [labels[item.class_key] for item in boxes],
            is_difficult=[item.is_difficult for item in boxes],
            box_ids=range(1, len(boxes) + 1),
        )
    return SourceSplit(
        place=split.place,
        images=entries,
        annotations=annotations,
        starts=np.cumsum([0, *counts], dtype=np.int64),
        num_listed=split.num_listed,
        is_normalised=split.is_normalised,
    )
