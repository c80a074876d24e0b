"""Images scaled to the input of a network."""

import cv2
import numpy as np

from ssd_core.data.batches.resize import load_image, resize_image
from ssd_core.data.decode import decode_image
from tests.data.image_corpus import encode

JPEG = encode("JPEG", size=(640, 480))


def test_load_image_is_decode_then_resize():
    pixels, size = load_image(JPEG, 300)
    assert size == (640, 480)
    assert pixels.shape == (300, 300, 3)
    np.testing.assert_array_equal(pixels, resize_image(decode_image(JPEG), 300))


def test_resize_samples_pixel_centres_bilinearly():
    row = np.array([[[0, 0, 0], [100, 100, 100]]], np.uint8)
    assert resize_image(row, 4)[0, :, 0].tolist() == [0, 25, 75, 100]


def test_opencv_uses_only_the_calling_thread():
    assert cv2.getNumThreads() == 1
