"""Images with boxes: overlays on small copies for pages."""

import base64
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import simplejpeg
from PIL import Image

from ssd_core.evaluation.diagnosis import judge_image
from ssd_core.logs import format_count
from ssd_core.report.charts import NUM_COLOURS, class_colour
from ssd_core.structures import Annotations, ClassInfo, Detections, ImageArray

_MAX_SIDE = 520
_QUALITY = 80
_MAX_CAPTIONS = 12
_MAX_BYTES = 1_200_000
"""Limit for all images of a page together, so that the page stays below 2 MB."""


BOX_KINDS = ("true", "right", "false", "missed")
"""Of the boxes on a page: an object; a detection that found one, or none; an object not found."""


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels of the small copy."""

    x: float
    y: float
    width: float
    height: float
    colour: str
    name: str
    """Of its class."""
    caption: str
    """Class, and score of a found box."""
    kind: str
    """One of BOX_KINDS."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotatedImage:
    """A small copy of an image with its boxes."""

    name: str
    note: str
    """Shown next to the name."""
    width: int
    height: int
    data: str
    """The small copy as a base64-encoded JPEG."""
    boxes: tuple[Box, ...]
    captioned: tuple[Box, ...]
    """The boxes with a caption: not all of many, which would cover the image."""


def annotate_image(
    name: str,
    pixels: ImageArray,
    *,
    truth: Annotations,
    found: Detections | None,
    classes: Sequence[ClassInfo],
    note: str = "",
    max_side: int = _MAX_SIDE,
) -> AnnotatedImage:
    """Scale an image ([H, W, 3] RGB) down, and its boxes with it.

    Crowds are left out; without `found` only the truth is shown, else the detections and the
    objects that none of them found, which the note counts. The classes are in label order.
    """
    groups: dict[str, Annotations | Detections] = {"true": truth.select(~truth.is_crowd)}
    if found is not None:
        groups, note = _judge(truth, found, classes)
    return draw_boxes(name, pixels, groups, classes, note=note, max_side=max_side)


def draw_boxes(
    name: str,
    pixels: ImageArray,
    groups: Mapping[str, Annotations | Detections],
    classes: Sequence[ClassInfo],
    *,
    note: str = "",
    max_side: int = _MAX_SIDE,
) -> AnnotatedImage:
    """Scale an image down, and with it the boxes of each of BOX_KINDS; the first have captions."""
    scale = min(1.0, max_side / max(pixels.shape[:2]))
    height, width = (max(1, round(side * scale)) for side in pixels.shape[:2])
    small = Image.fromarray(pixels).resize((width, height), Image.Resampling.BOX)
    names = [info.name for info in classes]
    boxes = tuple(box for kind, each in groups.items() for box in _boxes(each, names, kind, scale))
    # The colours of few classes are distinct, so only errors need a caption.
    is_clear = len(classes) <= NUM_COLOURS
    captioned = [box for box in boxes if not is_clear or box.kind in {"false", "missed"}]
    if not is_clear:
        captioned = _every_class_first(captioned)
    num_unnamed = len(captioned) - _MAX_CAPTIONS
    encoded = simplejpeg.encode_jpeg(
        np.asarray(small), quality=_QUALITY, colorspace="RGB", colorsubsampling="420"
    )
    return AnnotatedImage(
        name=name,
        note=f"{note}, {format_count(num_unnamed, 'name')} not drawn" if num_unnamed > 0 else note,
        width=width,
        height=height,
        data=base64.b64encode(encoded).decode(),
        boxes=boxes,
        captioned=tuple(captioned[:_MAX_CAPTIONS]),
    )


def take_while_small(images: Iterable[AnnotatedImage]) -> list[AnnotatedImage]:
    """Return the first images, as many as fit into a page."""
    taken: list[AnnotatedImage] = []
    num_bytes = 0
    for image in images:
        num_bytes += len(image.data)
        if num_bytes > _MAX_BYTES:
            break
        taken.append(image)
    return taken


def _judge(
    truth: Annotations, found: Detections, classes: Sequence[ClassInfo]
) -> tuple[dict[str, Annotations | Detections], str]:
    """Return the boxes by kind, false ones first, each kind best first, and their counts."""
    is_right, is_false, is_found = judge_image(truth, found, classes)
    missed = truth.select(~is_found & ~truth.is_crowd)
    num_objects = int((~truth.is_crowd).sum())
    groups: dict[str, Annotations | Detections] = {
        "false": found.select(is_false),
        "missed": missed,
        "right": found.select(is_right),
    }
    return groups, f"{len(missed)} of {num_objects} missed, {is_false.sum()} false"


def _boxes(
    items: Annotations | Detections, names: Sequence[str], kind: str, scale: float
) -> tuple[Box, ...]:
    own = [names[label - 1] for label in items.labels]
    captions = own
    if isinstance(items, Detections):
        captions = [f"{name} {score:.2f}" for name, score in zip(own, items.scores, strict=True)]
    boxes = items.boxes * scale
    xywh = np.hstack([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]]).astype(np.float64).round(1)
    return tuple(
        Box(x, y, width, height, class_colour(int(label)), name, caption, kind)
        for (x, y, width, height), label, name, caption in zip(
            xywh.tolist(), items.labels, own, captions, strict=True
        )
    )


def _every_class_first(boxes: Sequence[Box]) -> list[Box]:
    """Return the boxes so that every class comes once before any comes twice, in their order."""
    seen, ranks = Counter[str](), []
    for box in boxes:
        ranks.append(seen[box.name])
        seen[box.name] += 1
    return [boxes[row] for row in sorted(range(len(boxes)), key=ranks.__getitem__)]
