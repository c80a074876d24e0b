"""Boxes painted into a copy of a picture."""

import io
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from ssd_core.report.colours import class_colour
from ssd_core.structures import ClassInfo, Detections, ImageArray

_QUALITY = 90


def draw_detections(pixels: ImageArray, found: Detections, classes: Sequence[ClassInfo]) -> bytes:
    """Return the picture as JPEG with the found boxes, their class and their score.

    The font that comes with Pillow knows ASCII only; any other class is named by its label.

    Args:
        pixels: [H, W, 3] RGB.
        found: in pixels of the picture.
        classes: in label order.
    """
    image = Image.fromarray(pixels)
    canvas = ImageDraw.Draw(image)
    line_width = max(2, round(max(image.size) / 300))
    font = ImageFont.load_default(size=max(11, round(max(image.size) / 45)))
    for row in reversed(range(len(found))):  # the best ones last, on top
        label = int(found.labels[row])
        x0, y0, x1, y1 = (float(value) for value in found.boxes[row])
        colour = class_colour(label)
        canvas.rectangle((x0, y0, x1, y1), outline=colour, width=line_width)
        name = classes[label - 1].name
        text = f"{name if name.isascii() else f'class {label}'} {found.scores[row]:.2f}"
        width = canvas.textlength(text, font=font) + 2 * line_width
        place = (max(0.0, min(x0, image.width - width)), max(y0, 0.0))
        left, top, _, bottom = canvas.textbbox(place, text, font=font)
        canvas.rectangle((left, top, left + width, bottom), fill=colour)
        canvas.text((place[0] + line_width, place[1]), text, fill="white", font=font)
    encoded = io.BytesIO()
    image.save(encoded, "JPEG", quality=_QUALITY)
    return encoded.getvalue()
