"""The colour changes of a training image: [H, W, 3] RGB uint8 and contiguous, in place."""

import cv2
import numpy as np

from ssd_core.config import ColourFactorsSpec, PhotometricSpec
from ssd_core.structures import FloatArray, ImageArray

_LEVELS: FloatArray = np.arange(256, dtype=np.float32)


def change_colours(
    pixels: ImageArray, spec: PhotometricSpec | ColourFactorsSpec, rng: np.random.Generator
) -> None:
    """Randomly change colours in place, as specified."""
    if isinstance(spec, PhotometricSpec):
        _distort(pixels, spec, rng)
    else:
        _scale(pixels, spec, rng)


def _distort(pixels: ImageArray, spec: PhotometricSpec, rng: np.random.Generator) -> None:
    """Change brightness, contrast, saturation, hue and channel order.

    As in mmdetection 3.x, the whole input is changed, including the area outside the image.
    mmdetection also draws whether contrast comes before or after saturation and hue; those do not
    depend on a common factor of the channels, so the order matters for clipped highlights only. It
    is not drawn here.
    """
    limits = (spec.brightness, spec.contrast, spec.saturation, spec.hue)
    brightness, contrast, saturation, hue = (
        rng.uniform(-limit, limit) if rng.random() < spec.probability else 0.0 for limit in limits
    )
    if brightness or contrast:
        _map_levels(pixels, (_LEVELS + brightness) * (1 + contrast))
    if saturation or hue:
        _change_hsv(pixels, saturation, hue)
    if rng.random() < spec.probability:
        channels = rng.permutation(3)
        cv2.merge([cv2.extractChannel(pixels, channel) for channel in channels], dst=pixels)


def _change_hsv(pixels: ImageArray, saturation: float, hue: float) -> None:
    """Multiply the saturation by 1 + `saturation` and rotate the hue by `hue` degrees."""
    hues = np.mod(np.rint(_LEVELS + hue * 256 / 360), 256).astype(np.uint8)
    saturations = _to_uint8(_LEVELS * (1 + saturation))
    tables = np.stack([hues, saturations, _LEVELS.astype(np.uint8)], axis=1)[None]
    hsv = cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV_FULL)
    cv2.cvtColor(cv2.LUT(hsv, tables, dst=hsv), cv2.COLOR_HSV2RGB_FULL, dst=pixels)


def _scale(pixels: ImageArray, spec: ColourFactorsSpec, rng: np.random.Generator) -> None:
    """Scale brightness, contrast and saturation, in random order."""
    limits = (spec.brightness, spec.contrast, spec.saturation)
    factors = [rng.uniform(1 - limit, 1 + limit) for limit in limits]
    for index in rng.permutation(3):
        _SCALES[index](pixels, factors[index])


def scale_brightness(pixels: ImageArray, factor: float) -> None:
    """Multiply all levels."""
    _map_levels(pixels, _LEVELS * factor)


def scale_contrast(pixels: ImageArray, factor: float) -> None:
    """Multiply the distance of all levels to the mean grey, a whole number, of the image."""
    grey = round(cv2.mean(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY))[0])
    _map_levels(pixels, _LEVELS * factor + grey * (1 - factor))


def scale_saturation(pixels: ImageArray, factor: float) -> None:
    """Multiply the distance of each pixel to its grey."""
    grey = cv2.cvtColor(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    cv2.addWeighted(pixels, factor, grey, 1 - factor, 0, dst=pixels)


_SCALES = (scale_brightness, scale_contrast, scale_saturation)


def _map_levels(pixels: ImageArray, levels: FloatArray) -> None:
    """Replace each level 0..255 by that of `levels`, rounded."""
    cv2.LUT(pixels, _to_uint8(levels), dst=pixels)


def _to_uint8(levels: FloatArray) -> ImageArray:
    return np.clip(np.rint(levels), 0, 255).astype(np.uint8)
