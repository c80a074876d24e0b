"""Detections drawn into the pixels of an image, with labels that leave the objects visible."""

import numpy as np
from PIL import Image, ImageColor, ImageDraw, ImageFont

from ssd_core.detection.boxes import compute_areas, compute_shared_areas
from ssd_core.errors import one_line
from ssd_core.report.charts import class_colour
from ssd_core.structures import ClassInfo, Detections, FloatArray, ImageArray

_MAX_HIDDEN = 0.3
"""Share of any box that a label may cover; without such a place the label is left out."""

_MAX_NAME = 40
"""Characters of a class name in a label."""


def draw_detections(
    pixels: ImageArray, found: Detections, classes: tuple[ClassInfo, ...]
) -> Image.Image:
    """Return a copy of an image with the found boxes, their classes and scores drawn into it.

    A label is outside of its box where there is room. It never overlaps another label, and the
    best detections choose their places first.

    Args:
        pixels: [H, W, 3] RGB.
        found: the detections, best first.
        classes: in label order.
    """
    image = Image.fromarray(pixels)
    canvas = ImageDraw.Draw(image)
    line_width = max(2, round(max(image.size) / 400))
    font = ImageFont.load_default(size=max(11, round(max(image.size) / 58)))
    colours = [class_colour(label) for label in found.labels.tolist()]
    for box, colour in reversed(list(zip(found.boxes.tolist(), colours, strict=True))):
        canvas.rectangle(box, outline=colour, width=line_width)
    texts = [
        f"{_caption(classes[label - 1])} {score:.2f}"
        for label, score in zip(found.labels.tolist(), found.scores.tolist(), strict=True)
    ]
    height = canvas.textbbox((0, 0), "Ag", font=font, anchor="la")[3] + line_width
    sizes = [(canvas.textlength(text, font=font) + 2 * line_width, height) for text in texts]
    sides = np.array(sizes, np.float32).reshape(-1, 2)
    places = place_labels(found.boxes, sides, image.size)
    for place, text, colour in zip(places, texts, colours, strict=True):
        if place is not None:
            canvas.rectangle(place, fill=colour)
            corner = (place[0] + line_width, place[1])
            canvas.text(corner, text, fill=_text_colour(colour), font=font)
    return image


def place_labels(
    boxes: FloatArray, sizes: FloatArray, image_size: tuple[int, int]
) -> list[tuple[float, float, float, float] | None]:
    """Return the place of each label as xyxy, or None where it would hide a box or a label.

    Args:
        boxes: [N, 4] xyxy in pixels; the first ones choose first.
        sizes: [N, 2] width and height of each label.
        image_size: width and height of the image, which labels do not leave.
    """
    places: list[tuple[float, float, float, float] | None] = []
    taken = np.zeros((0, 4), np.float32)
    for box, size in zip(boxes, sizes, strict=True):
        around = _places_around(box, size, image_size)
        hidden = (compute_shared_areas(around, boxes) / np.maximum(compute_areas(boxes), 1)).max(
            axis=1
        )
        hidden[(compute_shared_areas(around, taken) > 0).any(axis=1)] = np.inf
        best = int(hidden.argmin())
        if hidden[best] > _MAX_HIDDEN:
            places.append(None)
            continue
        taken = np.concatenate([taken, around[best : best + 1]])
        x0, y0, x1, y1 = around[best].tolist()
        places.append((x0, y0, x1, y1))
    return places


def _places_around(box: FloatArray, size: FloatArray, image_size: tuple[int, int]) -> FloatArray:
    """Return [8, 4] xyxy places in order of preference: above, below, beside, then inside."""
    (x0, y0, x1, y1), (width, height) = box, size
    corners = [
        *((x0, y0 - height), (x1 - width, y0 - height)),
        *((x0, y1), (x1 - width, y1)),
        *((x1, y0), (x0 - width, y0)),
        *((x0, y0), (x0, y1 - height)),
    ]
    limit = np.maximum(np.array(image_size, np.float32) - size, 0)
    inside: FloatArray = np.clip(np.array(corners, np.float32), 0, limit)
    return np.concatenate([inside, inside + size], axis=1)


def _caption(info: ClassInfo) -> str:
    """Return the name of a class; its label if Pillow's built-in font, ASCII only, lacks it."""
    return one_line(info.name)[:_MAX_NAME] if info.name.isascii() else f"class {info.label}"


def _text_colour(colour: str) -> str:
    """Return black or white, whichever has the higher contrast on a colour (WCAG 2, 1.4.3)."""
    levels = np.array(ImageColor.getrgb(colour)[:3]) / 255
    linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    return "white" if linear @ (0.2126, 0.7152, 0.0722) < 0.179 else "black"
