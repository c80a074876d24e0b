"""What a COCO annotation file consists of: entries as they are read, objects as columns."""

from collections.abc import Sequence
from itertools import chain
from operator import attrgetter
from typing import Annotated, Any, NamedTuple

import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from ssd_core.structures import BoolArray, IntArray

Id = Annotated[int, Meta(ge=0, le=2**53)]
Side = Annotated[int, Meta(ge=0, lt=2**31)]


class CocoImage(Struct, gc=False):
    """An entry of `images`; a side of 0 pixels is not known."""

    id: Id
    file_name: str
    width: Side = 0
    height: Side = 0


class CocoCategory(Struct, gc=False):
    """An entry of `categories`."""

    id: Id
    name: str


class CocoObjects(NamedTuple):
    """The entries of `annotations`; all arrays have the same first dimension N."""

    ids: IntArray
    image_ids: IntArray
    category_ids: IntArray
    boxes: NDArray[np.float64]
    """[N, 4] x, y, width, height; NaN where `bbox` does not have four numbers."""
    box_lengths: IntArray
    """Numbers in `bbox`."""
    areas: NDArray[np.float64]
    """NaN where not given."""
    is_crowd: BoolArray


class CocoFile(NamedTuple):
    """A whole annotation file."""

    images: list[CocoImage]
    objects: CocoObjects
    categories: list[CocoCategory]
    num_listed: int
    """Entries of `images`, those included that could not be used."""
    dropped: frozenset[int] = frozenset()
    """Ids of images that must not be used, because an entry of theirs was malformed."""


class CocoAnnotation(Struct, gc=False):
    """An entry of `annotations`; `bbox` should be x, y, width, height."""

    id: Id
    image_id: Id
    category_id: Id
    bbox: tuple[float, ...] = ()
    area: float | None = None
    iscrowd: int | bool = 0


class CocoContent(Struct):
    """The file as it is written."""

    images: list[CocoImage]
    annotations: list[CocoAnnotation]
    categories: list[CocoCategory]


def to_columns(annotations: Sequence[CocoAnnotation]) -> CocoObjects:
    """Return the annotations with an array for each field."""

    def column(name: str, kind: type) -> Any:
        return np.fromiter(map(attrgetter(name), annotations), kind, len(annotations))

    boxes = [item.bbox for item in annotations]
    numbers = chain.from_iterable(box if len(box) == 4 else _NO_BOX for box in boxes)
    return CocoObjects(
        ids=column("id", np.int64),
        image_ids=column("image_id", np.int64),
        category_ids=column("category_id", np.int64),
        boxes=np.fromiter(numbers, np.float64, 4 * len(boxes)).reshape(-1, 4),
        box_lengths=np.fromiter(map(len, boxes), np.int64, len(boxes)),
        areas=column("area", np.float64),  # None becomes NaN
        is_crowd=column("iscrowd", np.bool_),
    )


_NO_BOX = (np.nan,) * 4
