"""Images scaled to the input of a network."""

import cv2

from ssd_core.data.decode import decode_image
from ssd_core.structures import ImageArray

# The loader has its own threads; OpenCV's would compete with them and with the framework's.
cv2.setNumThreads(0)


def resize_image(pixels: ImageArray, size: int) -> ImageArray:
    """Scale [H, W, 3] to [size, size, 3], bilinear, without keeping the aspect ratio."""
    resized: ImageArray = cv2.resize(pixels, (size, size), interpolation=cv2.INTER_LINEAR)
    return resized


def load_image(image: bytes | memoryview, size: int) -> tuple[ImageArray, tuple[int, int]]:
    """Return an image scaled to [size, size, 3] RGB, 0..255, and its original (width, height)."""
    pixels = decode_image(image)
    height, width = pixels.shape[:2]
    return resize_image(pixels, size), (width, height)
