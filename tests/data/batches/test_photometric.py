"""Changes of colour, against the same in floating point."""

from pathlib import Path

import cv2
import numpy as np

from ssd_core.config import AugmentConfig
from ssd_core.data.batches.augment import distort_colours
from ssd_core.data.decode import load_image

PHOTOS = sorted((Path(__file__).parents[3] / "examples/bccd/JPEGImages").iterdir())[:3]
ALWAYS = AugmentConfig(photometric_probability=1)
NO_LIMITS = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0}
RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)


def only(**limits: float) -> AugmentConfig:
    return ALWAYS.model_copy(update=NO_LIMITS | limits)


def distorted(pixels, config: AugmentConfig, seed: int):
    out = pixels.copy()
    distort_colours(out, config, np.random.default_rng(seed))
    return out


def distort_as_floats(pixels, config: AugmentConfig, seed: int):
    """mmdetection's transform in float32 with the same draws, every change always made."""
    rng = np.random.default_rng(seed)
    limits = (config.brightness, config.contrast, config.saturation, config.hue)
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


def test_no_chance_no_change():
    config = ALWAYS.model_copy(update={"photometric_probability": 0.0})
    np.testing.assert_array_equal(distorted(RAMP, config, 0), RAMP)


def test_brightness_adds_and_clips():
    shifts = set()
    for seed in range(30):
        changed = distorted(RAMP, only(brightness=32.0), seed).astype(int)
        shift = changed[8, 0, 0] - 128
        assert -32 <= shift <= 32
        np.testing.assert_array_equal(changed, np.clip(RAMP.astype(int) + shift, 0, 255))
        shifts.add(shift)
    assert min(shifts) < -15
    assert max(shifts) > 15


def test_contrast_multiplies_and_clips():
    factors = []
    for seed in range(30):
        changed = distorted(RAMP, only(contrast=0.5), seed).astype(int)
        factor = changed[6, 4, 0] / 100
        assert 0.5 <= factor <= 1.5
        assert np.abs(changed - np.clip(RAMP * factor, 0, 255)).max() <= 2
        factors.append(factor)
    assert min(factors) < 0.7
    assert max(factors) > 1.3


def test_gray_has_no_saturation_and_no_hue():
    np.testing.assert_array_equal(distorted(RAMP, only(saturation=0.5, hue=18.0), 3), RAMP)


def test_a_turn_of_120_degrees_moves_red_to_green_or_blue():
    red = np.full((2, 2, 3), (200, 0, 0), np.uint8)
    hues = set()
    for seed in range(40):
        changed = distorted(red, only(hue=180.0), seed)
        assert changed.max() == 200
        assert changed.min() == 0
        hues.add(tuple(changed[0, 0]))
    assert len(hues) > 30


def test_channels_are_permuted_in_every_way():
    pixel = np.full((1, 1, 3), (10, 20, 30), np.uint8)
    seen = {tuple(distorted(pixel, only(), seed)[0, 0]) for seed in range(100)}
    assert len(seen) == 6
    assert {tuple(sorted(some)) for some in seen} == {(10, 20, 30)}


def test_photos_equal_the_float_transform_within_one_level():
    for seed, path in enumerate(PHOTOS * 4):
        pixels, _ = load_image(path.read_bytes(), 300)
        difference = distorted(pixels, ALWAYS, seed) - distort_as_floats(pixels, ALWAYS, seed)
        error = np.sqrt(np.mean(difference**2))
        assert error < 1


def test_each_change_comes_with_its_probability():
    config = only(brightness=32.0).model_copy(update={"photometric_probability": 0.3})
    changed = [distorted(RAMP, config, seed)[8, 0, 0] != 128 for seed in range(2000)]
    assert abs(np.mean(changed) - 0.3) < 0.06
