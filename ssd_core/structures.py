"""The data types of all layers. Boxes are float32 xyxy unless a name says otherwise."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
ImageArray = NDArray[np.uint8]


@dataclass(slots=True, kw_only=True)  # frozen, it would take four times as long to build
class Annotations:
    """The objects of one image; all arrays have the same first dimension G, which may be 0."""

    boxes: FloatArray
    """[G, 4] xyxy in pixels of the stored image."""
    labels: IntArray
    """[G] 1..K; 0 is background and never occurs here."""
    areas: NDArray[np.float64]
    """[G] square pixels: of the object's mask if the source has one (COCO), else of its box."""
    is_crowd: BoolArray
    """[G] True for a box around a group of objects; ignored by matching and by the evaluator."""
    is_difficult: BoolArray
    """[G] VOC's `difficult` flag; False in every other format."""
    box_ids: IntArray
    """[G] id of the annotation in the source; else its number in the image from 1, or its line."""

    def __len__(self) -> int:
        return len(self.labels)

    def select(self, rows: Array | slice) -> "Annotations":
        """Return the annotations of `rows`: indices, a mask over G, or a slice, giving views."""
        return Annotations(
            boxes=self.boxes[rows],
            labels=self.labels[rows],
            areas=self.areas[rows],
            is_crowd=self.is_crowd[rows],
            is_difficult=self.is_difficult[rows],
            box_ids=self.box_ids[rows],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One image of a source data set, as a reader of `data/formats` yields it."""

    image_id: int
    """Id in the source, or the running number within the split if the source has none."""
    image_path: str
    """Path of the image within the source, with forward slashes."""
    width: int
    """Pixels; 0 if the source does not contain it."""
    height: int
    """Pixels; 0 if the source does not contain it."""
    annotations: Annotations
    place: str
    """Position of this sample for error messages: file, and line or JSON path."""
    is_normalised: bool = False
    """True as long as boxes are in [0, 1] of the image, until its size is known."""
    object_word: str = "object"
    """Unit of `box_ids`, for error messages."""
    class_names: Sequence[str] = ()
    """In label order, for error messages; () if the source does not name them."""


@dataclass(slots=True, kw_only=True)  # built once per image that is read, as its annotations are
class Record:
    """One row read back from a shard."""

    index: int
    """Position in the split, from 0."""
    image_id: int
    image_path: str
    width: int
    height: int
    image: memoryview
    """The bytes of the image file, unchanged from the source."""
    annotations: Annotations


@dataclass(slots=True, kw_only=True)
class Batch:
    """The input of one optimizer step; the arrays are reused, so copy them to keep them."""

    images: ImageArray
    """[B, S, S, 3] RGB, 0..255."""
    boxes: FloatArray
    """[B, M, 4] xyxy in [0, 1] of the augmented image; rows beyond its objects are zero."""
    labels: IntArray
    """[B, M] 1..K; 0 is padding."""

    def split(self, count: int) -> "list[Batch]":
        """Return `count` equal parts that share the memory of the batch."""
        parts = (np.split(each, count) for each in (self.images, self.boxes, self.labels))
        return [
            Batch(images=images, boxes=boxes, labels=labels)
            for images, boxes, labels in zip(*parts, strict=True)
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Detections:
    """The detections in one image, best score first; N may be 0."""

    boxes: FloatArray
    """[N, 4] xyxy in pixels of the original image, clipped to it."""
    scores: FloatArray
    """[N] in (0, 1]."""
    labels: IntArray
    """[N] 1..K."""
    candidates: int = 0
    """Boxes that entered NMS, of all classes; 0 if unknown."""

    def __len__(self) -> int:
        return len(self.scores)

    def select(self, rows: Array) -> "Detections":
        """Return the detections of `rows`: indices, or a mask over N."""
        return Detections(
            boxes=self.boxes[rows], scores=self.scores[rows], labels=self.labels[rows]
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassInfo:
    """One class of a data set."""

    label: int
    """1..K, the index in the network's output."""
    name: str
    category_id: int
    """Id in the source (COCO ids have gaps); equal to `label` if the source has no ids."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageResult:
    """The results of a stage besides its files: small and flat, for a dashboard."""

    metrics: dict[str, float] = field(default_factory=dict)
    """Finite numbers to compare between runs."""
    metadata: dict[str, str | float] = field(default_factory=dict)
    """Digests, counts and names of the outputs."""


def make_annotations(
    boxes: Sequence[Sequence[float]] | Array,
    labels: Sequence[int] | Array,
    *,
    areas: Sequence[float] | Array | None = None,
    is_crowd: Sequence[bool] | Array | None = None,
    is_difficult: Sequence[bool] | Array | None = None,
    box_ids: Sequence[int] | Array | None = None,
) -> Annotations:
    """Build annotations; by default areas are those of the boxes, flags False, ids 0..G-1."""
    box_array = np.asarray(boxes, np.float32).reshape(-1, 4)
    count = len(box_array)
    if areas is None:
        sides = box_array[:, 2:].astype(np.float64) - box_array[:, :2]
        areas = sides[:, 0] * sides[:, 1]
    no_flags = [False] * count
    return Annotations(
        boxes=box_array,
        labels=np.asarray(labels, np.int64),
        areas=np.asarray(areas, np.float64),
        is_crowd=np.asarray(no_flags if is_crowd is None else is_crowd, np.bool_),
        is_difficult=np.asarray(no_flags if is_difficult is None else is_difficult, np.bool_),
        box_ids=np.asarray(range(count) if box_ids is None else box_ids, np.int64),
    )
