"""Images with boxes: overlays on small copies for pages, and boxes drawn into JPEG files."""

import base64
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import simplejpeg
from PIL import Image, ImageDraw, ImageFont

from ssd_core.errors import one_line
from ssd_core.report.charts import NUM_COLOURS, class_colour
from ssd_core.structures import Annotations, Array, ClassInfo, Detections, ImageArray

_MAX_SIDE = 520
_QUALITY = 80
_DRAWN_QUALITY = 90
_MAX_CAPTIONS = 12
_MAX_BYTES = 1_200_000
"""Limit for all images of a page together, so that the page stays below 2 MB."""


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels of the small copy."""

    x: float
    y: float
    width: float
    height: float
    colour: str
    caption: str
    """Class, and score of a found box."""


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
    true: tuple[Box, ...]
    found: tuple[Box, ...]
    captioned: tuple[Box, ...]
    """The boxes with a caption: not all of many, which would cover the image."""


def annotate_image(
    name: str,
    pixels: ImageArray,
    *,
    truth: Annotations,
    found: Detections | None,
    classes: Sequence[ClassInfo],
    note: str,
) -> AnnotatedImage:
    """Scale an image ([H, W, 3] RGB) down, and its boxes with it.

    Crowds are left out; without `found` only the truth is shown. The classes are in label order.
    """
    scale = min(1.0, _MAX_SIDE / max(pixels.shape[:2]))
    height, width = (max(1, round(side * scale)) for side in pixels.shape[:2])
    small = Image.fromarray(pixels).resize((width, height), Image.Resampling.BOX)
    names = [info.name for info in classes]
    truth = truth.select(~truth.is_crowd)
    true_boxes = _boxes(truth.boxes * scale, truth.labels, names)
    found_boxes: tuple[Box, ...] = ()
    if found is not None:
        found_boxes = _boxes(found.boxes * scale, found.labels, names, found.scores)
    captioned = found_boxes
    if found is None and len(classes) > NUM_COLOURS:  # fewer classes differ by colour
        captioned = true_boxes
    num_bare = len(captioned) - _MAX_CAPTIONS
    encoded = simplejpeg.encode_jpeg(
        np.asarray(small), quality=_QUALITY, colorspace="RGB", colorsubsampling="420"
    )
    return AnnotatedImage(
        name=name,
        note=f"{note}, {num_bare} without a label" if num_bare > 0 else note,
        width=width,
        height=height,
        data=base64.b64encode(encoded).decode(),
        true=true_boxes,
        found=found_boxes,
        captioned=captioned[:_MAX_CAPTIONS],  # found boxes are in the order of their scores
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


def draw_detections(pixels: ImageArray, found: Detections, classes: Sequence[ClassInfo]) -> bytes:
    """Return the image as JPEG with the found boxes, their classes and scores drawn into it.

    `pixels` is [H, W, 3] RGB, and the classes are in label order. Pillow's built-in font covers
    ASCII only, so any other class name is replaced by its label.
    """
    image = Image.fromarray(pixels)
    canvas = ImageDraw.Draw(image)
    line_width = max(2, round(max(image.size) / 300))
    font = ImageFont.load_default(size=max(11, round(max(image.size) / 45)))
    for row in reversed(range(len(found))):  # the best detections last, on top of the others
        label = int(found.labels[row])
        x0, y0, x1, y1 = (float(value) for value in found.boxes[row])
        colour = class_colour(label)
        canvas.rectangle((x0, y0, x1, y1), outline=colour, width=line_width)
        name = classes[label - 1].name
        caption = one_line(name) if name.isascii() else f"class {label}"
        text = f"{caption} {found.scores[row]:.2f}"
        width = canvas.textlength(text, font=font) + 2 * line_width
        corner = (max(0.0, min(x0, image.width - width)), max(y0, 0.0))
        left, top, _, bottom = canvas.textbbox(corner, text, font=font)
        canvas.rectangle((left, top, left + width, bottom), fill=colour)
        canvas.text((corner[0] + line_width, corner[1]), text, fill="white", font=font)
    encoded = io.BytesIO()
    image.save(encoded, "JPEG", quality=_DRAWN_QUALITY)
    return encoded.getvalue()


def _boxes(
    boxes: Array, labels: Array, names: Sequence[str], scores: Array | None = None
) -> tuple[Box, ...]:
    captions = [names[label - 1] for label in labels]
    if scores is not None:
        captions = [f"{name} {score:.2f}" for name, score in zip(captions, scores, strict=True)]
    xywh = np.hstack([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]]).astype(np.float64).round(1)
    return tuple(
        Box(x, y, width, height, class_colour(int(label)), caption)
        for (x, y, width, height), label, caption in zip(
            xywh.tolist(), labels, captions, strict=True
        )
    )
