"""Random changes of colour, in the order of mmdetection 3.x: on the network's small uint8 input."""

import cv2
import numpy as np

from ssd_core.config import AugmentConfig
from ssd_core.structures import FloatArray, ImageArray

_LEVELS: FloatArray = np.arange(256, dtype=np.float32)


def distort_colours(pixels: ImageArray, config: AugmentConfig, rng: np.random.Generator) -> None:
    """Change brightness, contrast, saturation, hue and channel order in place, each by chance.

    The whole input is changed, what lies outside the image included, as mmdetection 3.x does.
    mmdetection draws whether contrast comes before or after saturation and hue; these do not
    depend on a common factor of the channels, so but for clipped highlights the order makes no
    difference; it is not drawn.

    Args:
        pixels: [H, W, 3] RGB, contiguous.
        config: probability and limits.
        rng: source of all randomness.
    """
    limits = (config.brightness, config.contrast, config.saturation, config.hue)
    brightness, contrast, saturation, hue = (
        rng.uniform(-limit, limit) if rng.random() < config.photometric_probability else 0.0
        for limit in limits
    )
    if brightness or contrast:
        cv2.LUT(pixels, _to_uint8((_LEVELS + brightness) * (1 + contrast)), dst=pixels)
    if saturation or hue:
        _turn(pixels, saturation, hue)
    if rng.random() < config.photometric_probability:
        channels = rng.permutation(3)
        cv2.merge([cv2.extractChannel(pixels, channel) for channel in channels], dst=pixels)


def _turn(pixels: ImageArray, saturation: float, hue: float) -> None:
    """Multiply the saturation by 1 + `saturation` and turn the hue by `hue` degrees, in place."""
    hues = np.mod(np.rint(_LEVELS + hue * 256 / 360), 256).astype(np.uint8)
    saturations = _to_uint8(_LEVELS * (1 + saturation))
    tables = np.stack([hues, saturations, _LEVELS.astype(np.uint8)], axis=1)[None]
    hsv = cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV_FULL)
    cv2.cvtColor(cv2.LUT(hsv, tables, dst=hsv), cv2.COLOR_HSV2RGB_FULL, dst=pixels)


def _to_uint8(levels: FloatArray) -> ImageArray:
    return np.clip(np.rint(levels), 0, 255).astype(np.uint8)
