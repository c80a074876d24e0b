"""What a detector finds in one image, for `ssd predict` and for Python."""

import io
import json
import os
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from ssd_core.data.decode import decode_image
from ssd_core.errors import DataError, UsageError, located
from ssd_core.report.images import draw_detections
from ssd_core.store import Location
from ssd_core.store.local import raise_if_transient
from ssd_core.structures import Array, ClassInfo, Detections, FloatArray, ImageArray


@dataclass(frozen=True, slots=True)
class Prediction:
    """The objects in one image, best score first; N may be 0."""

    pixels: ImageArray = field(repr=False)
    """[H, W, 3] RGB."""
    found: Detections
    classes: tuple[ClassInfo, ...] = field(repr=False)
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

    def draw(self) -> Image.Image:
        """Return the image with the boxes, their classes and scores drawn into it."""
        return Image.open(io.BytesIO(self.to_jpeg()))

    def to_jpeg(self) -> bytes:
        """Return `draw` as a JPEG file."""
        return draw_detections(self.pixels, self.found, self.classes)

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


@dataclass(frozen=True, slots=True)
class StoredImage:
    """An image in a store, with the members of a Path that are used here."""

    directory: Location
    key: str

    @property
    def stem(self) -> str:
        """The name without its suffix."""
        return PurePosixPath(self.key).stem

    def read_bytes(self) -> bytes:
        """Return the content; FileNotFoundError if it does not exist."""
        return self.directory.get(self.key)

    def __str__(self) -> str:
        return f"{self.directory}/{self.key}"


def read_image(path: Path | StoredImage) -> ImageArray:
    """Return the pixels of an image file, [H, W, 3] RGB.

    Raises:
        DataError: the file cannot be read, or is not an image.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise DataError("the image does not exist") from None
    except OSError as error:
        raise_if_transient(error, Path(str(path)))
        raise DataError(f"the image cannot be read: {error.strerror}") from None
    return decode_image(content)


def to_pixels(image: str | os.PathLike[str] | Array) -> ImageArray:
    """Return the pixels of an image, given as a path, a URI, or pixels.

    Raises:
        DataError: the file cannot be read, or is not an image.
        UsageError: pixels that are not [H, W, 3] uint8.
    """
    if isinstance(image, (str, os.PathLike)):
        place = Location.parse(os.fspath(image))
        path = place.local or StoredImage(place.parent, place.name)
        with located(str(path)):
            return read_image(path)
    pixels = np.asarray(image)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise UsageError(
            f"pixels are {list(pixels.shape)} {pixels.dtype}; expected [H, W, 3] uint8 in RGB"
        )
    return pixels
