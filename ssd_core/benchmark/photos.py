"""Photographs to measure with where no data set is given."""

import cv2
import numpy as np
import simplejpeg

from ssd_core.structures import ImageArray

_WIDTH, _HEIGHT = 640, 480
_QUALITY = 90


def generate_photos(count: int) -> list[bytes]:
    """Return JPEG files with about the bytes and the decoding time of real photographs of 640x480.

    The same for every call: noise of all scales, each twice as fine as the one before, in the
    proportions in which natural images have them.
    """
    rng = np.random.default_rng(0)
    return [
        simplejpeg.encode_jpeg(_paint(rng), quality=_QUALITY, colorspace="RGB")
        for _ in range(count)
    ]


def _paint(rng: np.random.Generator) -> ImageArray:
    canvas = np.zeros((_HEIGHT, _WIDTH, 3), np.float32)
    for octave in range(1, 9):
        cells = 2**octave
        noise = rng.standard_normal((cells * 3 // 4 + 1, cells, 3)).astype(np.float32)
        canvas += (
            cv2.resize(noise, (_WIDTH, _HEIGHT), interpolation=cv2.INTER_CUBIC) * 100 / cells**0.6
        )
    return np.clip(128 + canvas, 0, 255).astype(np.uint8)
