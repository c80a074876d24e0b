"""Images scaled to the input of a network."""

import cv2
import numpy as np
import pytest

from ssd_core.data.batches.resize import resize_image
from tests.small_model import describe_input

POSITIONS = {
    "half_pixel": lambda index, scale: (index + 0.5) * scale - 0.5,
    "asymmetric": lambda index, scale: index * scale,
}


def interpolate(pixels, side, find_positions):
    """Scale axis by axis in float64."""
    values = pixels.astype(np.float64)
    for axis in (0, 1):
        size = pixels.shape[axis]
        positions = find_positions(np.arange(side), size / side).clip(0, size - 1)
        before = positions.astype(int)
        shares = np.expand_dims(positions - before, [each for each in range(3) if each != axis])
        after = np.minimum(before + 1, size - 1)
        values = values.take(before, axis) * (1 - shares) + values.take(after, axis) * shares
    return values


@pytest.mark.parametrize("resize", POSITIONS)
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (97, 41), (300, 300), (480, 640)])
def test_pixels_are_bilinear_at_the_positions(resize, size):
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    found = resize_image(pixels, describe_input(200, resize=resize))
    difference = np.abs(found - interpolate(pixels, 200, POSITIONS[resize]))
    # OpenCV 4 rounds positions to 1/32 pixel; neighbours here differ by up to 255.
    assert difference.max() < (8.5 if cv2.__version__ < "5" else 1.5)
    assert difference.mean() < 1


def test_opencv_uses_only_the_calling_thread():
    assert cv2.getNumThreads() == 1
