"""Images scaled to the input of a network."""

from collections.abc import Sequence

import cv2
import numpy as np

from ssd_core.config import ModelConfig
from ssd_core.data.decode import decode_image
from ssd_core.structures import ImageArray

# The loader has its own threads; OpenCV's would compete with them and with the framework's.
cv2.setNumThreads(0)


def resize_image(pixels: ImageArray, model: ModelConfig) -> ImageArray:
    """Scale [H, W, 3] to the input of a model, bilinear, without keeping the aspect ratio."""
    height, width = pixels.shape[:2]
    if model.resize == "asymmetric":
        return resize_window(pixels, (0, 0, width, height), model)
    side = model.image_size
    resized: ImageArray = cv2.resize(pixels, (side, side), interpolation=cv2.INTER_LINEAR)
    return resized


def resize_window(
    pixels: ImageArray,
    window: Sequence[int],
    model: ModelConfig,
    fill: Sequence[float] | None = None,
) -> ImageArray:
    """Scale the part (x0, y0, x1, y1) of [H, W, 3], which may reach beyond it, like `resize_image`.

    Outside, interpolation reads `fill`, RGB 0..255; None repeats the pixels at the border.
    """
    x0, y0, x1, y1 = window
    side = model.image_size
    scale_x, scale_y = (x1 - x0) / side, (y1 - y0) / side
    centre = 0.5 if model.resize == "half_pixel" else 0
    to_image = [
        [scale_x, 0, x0 + centre * (scale_x - 1)],
        [0, scale_y, y0 + centre * (scale_y - 1)],
    ]
    # OpenCV 4 rounds positions to 1/32 pixel.
    resized: ImageArray = cv2.warpAffine(
        pixels,
        np.array(to_image),
        (side, side),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE if fill is None else cv2.BORDER_CONSTANT,
        borderValue=[round(channel) for channel in fill or ()],
    )
    return resized


def load_image(image: bytes | memoryview, model: ModelConfig) -> tuple[ImageArray, tuple[int, int]]:
    """Return an image as the input of a model, [S, S, 3] RGB 0..255, and its (width, height)."""
    pixels = decode_image(image)
    height, width = pixels.shape[:2]
    return resize_image(pixels, model), (width, height)
