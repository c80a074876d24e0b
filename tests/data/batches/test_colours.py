"""The colours of a training image, against the same changes in NumPy and by MindSpore."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from ssd_core.config import ColourFactorsSpec, PhotometricSpec
from ssd_core.data.batches.colours import (
    change_colours,
    scale_brightness,
    scale_contrast,
    scale_saturation,
)
from ssd_core.data.batches.resize import load_image
from tests.requirements import INSTALLED_FRAMEWORKS
from tests.small_model import describe_input

FOLDER = Path(__file__).parents[3] / "examples/bccd/JPEGImages"
PHOTOGRAPHS = [
    load_image(path.read_bytes(), describe_input(300))[0] for path in sorted(FOLDER.iterdir())[:3]
]


def changed(pixels, spec, seed: int):
    out = pixels.copy()
    change_colours(out, spec, np.random.default_rng(seed))
    return out


def distort_as_floats(pixels, spec: PhotometricSpec, seed: int):
    """mmdetection's transform in float32 with the same draws, every change always made."""
    rng = np.random.default_rng(seed)
    limits = (spec.brightness, spec.contrast, spec.saturation, spec.hue)
    brightness, contrast, saturation, hue = (
        (rng.random(), rng.uniform(-limit, limit))[1] for limit in limits
    )
    image = np.clip((pixels.astype(np.float32) + brightness) * (1 + contrast), 0, 255)
    hsv = cv2.cvtColor(image / 255, cv2.COLOR_RGB2HSV)
    hsv[..., 1] = np.clip(hsv[..., 1] * (1 + saturation), 0, 1)
    hsv[..., 0] = (hsv[..., 0] + hue) % 360
    image = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB) * 255
    rng.random()
    return image[..., rng.permutation(3)]


def scale_as_floats(pixels, spec: ColourFactorsSpec, seed: int):
    """MindSpore's changes with the same draws: each moves away from black or grey, and rounds."""
    rng = np.random.default_rng(seed)
    limits = (spec.brightness, spec.contrast, spec.saturation)
    factors = [rng.uniform(1 - limit, 1 + limit) for limit in limits]
    image = pixels.astype(float)
    for index in rng.permutation(3):
        grey = np.rint(image @ [0.299, 0.587, 0.114])[..., None]
        origin = (0, np.rint(grey.mean()), grey)[index]
        image = np.clip(np.rint(origin + (image - origin) * factors[index]), 0, 255)
    return image


def test_a_distortion_equals_the_float_transform_within_one_level():
    spec = PhotometricSpec(probability=1)
    for seed, pixels in enumerate(PHOTOGRAPHS * 4):
        difference = changed(pixels, spec, seed) - distort_as_floats(pixels, spec, seed)
        error = np.sqrt(np.mean(difference**2))
        assert error < 1


def test_factors_in_random_order_equal_the_same_in_numpy():
    spec = ColourFactorsSpec(saturation=0.9)  # differs from the others, so that their order counts
    for seed, pixels in enumerate(PHOTOGRAPHS * 6):
        difference = np.abs(changed(pixels, spec, seed) - scale_as_floats(pixels, spec, seed))
        assert difference.max() <= 2  # a grey that lies between two levels
        assert difference.mean() < 0.02


@pytest.mark.skipif("mindspore" not in INSTALLED_FRAMEWORKS, reason="MindSpore is not installed")
@pytest.mark.parametrize("factor", [0.6, 0.9, 1.23, 1.4])
def test_each_factor_gives_the_pixels_of_mindspore_within_one_level(factor):
    from mindspore.dataset import vision

    scales = {
        "brightness": scale_brightness,
        "contrast": scale_contrast,
        "saturation": scale_saturation,
    }
    for name, scale in scales.items():
        for pixels in PHOTOGRAPHS:
            ours = pixels.copy()
            scale(ours, factor)
            theirs = vision.RandomColorAdjust(**{name: (factor, factor)})(pixels)
            difference = np.abs(ours.astype(int) - theirs)
            assert difference.max() <= 1, name  # what lies between two levels
            assert difference.mean() < 0.1, name
