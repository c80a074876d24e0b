"""The detections of one image."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import simplejpeg
from PIL import Image

from ssd_core.logs import format_count
from ssd_core.report.drawing import draw_detections
from ssd_core.structures import ClassInfo, Detections, FloatArray, ImageArray

_QUALITY = 90
_MAX_PRINTED = 5


@dataclass(frozen=True, slots=True, repr=False)
class Prediction:
    """The objects in one image, best score first; N may be 0."""

    pixels: ImageArray
    """[H, W, 3] RGB."""
    found: Detections
    classes: tuple[ClassInfo, ...]
    """All classes of the model, in label order."""

    @property
    def boxes(self) -> FloatArray:
        """[N, 4] xyxy in pixels of the image."""
        return self.found.boxes

    @property
    def scores(self) -> FloatArray:
        """[N] in (0, 1]."""
        return self.found.scores

    @property
    def names(self) -> list[str]:
        """[N] names of the classes."""
        return [self.classes[label - 1].name for label in self.found.labels]

    def __repr__(self) -> str:
        """Return the number of objects, and the best ones: `<2 objects: cat 0.88, dog 0.71>`."""
        best = [f"{name} {score:.2f}" for name, score in zip(self.names, self.scores, strict=True)]
        more = ["…"] * (len(best) > _MAX_PRINTED)
        count = format_count(len(best), "object")
        return f"<{count}{': ' if best else ''}{', '.join(best[:_MAX_PRINTED] + more)}>"

    def draw(self) -> Image.Image:
        """Return the image with the boxes, their classes and scores drawn into it."""
        return draw_detections(self.pixels, self.found, self.classes)

    def to_jpeg(self) -> bytes:
        """Return `draw` as a JPEG file."""
        jpeg: bytes = simplejpeg.encode_jpeg(
            np.asarray(self.draw()), quality=_QUALITY, colorspace="RGB", colorsubsampling="420"
        )
        return jpeg

    def to_dict(self) -> dict[str, Any]:
        """Return size and detections as plain values, boxes as x0, y0, x1, y1 in pixels."""
        height, width = self.pixels.shape[:2]
        rows = zip(self.names, self.scores.tolist(), self.boxes.tolist(), strict=True)
        return {
            "width": width,
            "height": height,
            "detections": [
                {
                    "class": name,
                    "score": round(score, 4),
                    "box": [round(value, 1) for value in box],
                }
                for name, score, box in rows
            ],
        }

    def to_json(self) -> str:
        """Return `to_dict` as JSON."""
        return json.dumps(self.to_dict())
