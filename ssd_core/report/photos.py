"""Photographs for the pages: small copies with the true and the found boxes laid over them."""

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import simplejpeg

from ssd_core.report.colours import NUM_COLOURS, class_colour
from ssd_core.structures import Annotations, Array, ClassInfo, Detections, ImageArray

_MAX_SIDE = 520
_QUALITY = 80
_MAX_CAPTIONS = 12
_MAX_BYTES = 1_200_000
"""Of all pictures of a page together, so that it stays below 2 MB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A rectangle in pixels of the small copy."""

    x: float
    y: float
    width: float
    height: float
    colour: str
    name: str
    score: float | None
    """None for a true box."""

    @property
    def caption(self) -> str:
        """What is written at the box."""
        return self.name if self.score is None else f"{self.name} {self.score:.2f}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Photo:
    """One picture of the page."""

    name: str
    note: str
    """What is said about it beside its name."""
    width: int
    height: int
    data: str
    """The small copy as base64 of a JPEG."""
    true: tuple[Box, ...]
    found: tuple[Box, ...]
    captioned: tuple[Box, ...]
    """The boxes with their names beside them: none where there is no room."""


def make_photo(
    name: str,
    pixels: ImageArray,
    *,
    truth: Annotations,
    found: Detections | None,
    classes: Sequence[ClassInfo],
    note: str,
) -> Photo:
    """Scale a photograph down and lay its boxes over it.

    Args:
        name: caption.
        pixels: [H, W, 3] RGB.
        truth: in pixels; crowds are left out.
        found: in pixels, those that are to be shown; None where only the truth is.
        classes: in label order.
        note: what is said about it beside its name.
    """
    scale = min(1.0, _MAX_SIDE / max(pixels.shape[:2]))
    size = [max(1, round(side * scale)) for side in pixels.shape[1::-1]]
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    names = [info.name for info in classes]
    truth = truth.select(~truth.is_crowd)
    true_boxes = _boxes(truth.boxes * scale, truth.labels, [None] * len(truth), names)
    found_boxes: tuple[Box, ...] = ()
    if found is not None:
        scores = [float(score) for score in found.scores]
        found_boxes = _boxes(found.boxes * scale, found.labels, scores, names)
    captioned = found_boxes
    if found is None and len(classes) > NUM_COLOURS:  # else the colour says it
        captioned = true_boxes
    return Photo(
        name=name,
        note=note,
        width=size[0],
        height=size[1],
        data=base64.b64encode(_encode(small)).decode(),
        true=true_boxes,
        found=found_boxes,
        captioned=captioned if len(captioned) <= _MAX_CAPTIONS else (),
    )


def take_while_small(photos: Iterable[Photo]) -> list[Photo]:
    """Return the first photographs, as many as a page has room for."""
    taken: list[Photo] = []
    num_bytes = 0
    for photo in photos:
        num_bytes += len(photo.data)
        if num_bytes > _MAX_BYTES:
            break
        taken.append(photo)
    return taken


def _encode(pixels: ImageArray) -> bytes:
    encoded: bytes = simplejpeg.encode_jpeg(
        pixels, quality=_QUALITY, colorspace="RGB", colorsubsampling="420"
    )
    return encoded


def _boxes(
    boxes: Array, labels: Array, scores: Sequence[float | None], names: Sequence[str]
) -> tuple[Box, ...]:
    return tuple(
        Box(
            x=round(x0, 1),
            y=round(y0, 1),
            width=round(x1 - x0, 1),
            height=round(y1 - y0, 1),
            colour=class_colour(label),
            name=names[label - 1],
            score=score,
        )
        for (x0, y0, x1, y1), label, score in zip(
            boxes.tolist(), labels.tolist(), scores, strict=True
        )
    )
