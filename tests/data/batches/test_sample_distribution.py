"""The distribution of augmented boxes and pixels, against a step-by-step reference."""

import random
from functools import cache

import numpy as np
import pytest
from PIL import Image

from ssd_core.config import AugmentConfig, ColourFactorsSpec, PhotometricSpec
from ssd_core.data.batches.augment import sample
from ssd_core.structures import make_annotations
from tests.data.batches.reference_augment import CROPS, augment
from tests.data.batches.test_windows import MIN_IOUS, assert_equally_distributed
from tests.data.image_corpus import save
from tests.small_model import describe_input

SIZE, COUNT = 24, 2000
MODEL = describe_input(SIZE)
BOXES = [[12.0, 9.0, 40.0, 50.0], [50.0, 20.0, 90.0, 60.0], [4.0, 50.0, 20.0, 70.0]]


def make_image():
    """Return smooth colours with an object in each box, so that any shift or scaling shows."""
    rows, columns = np.mgrid[:72, :96]
    pixels = np.stack([60 + columns, 40 + 2 * rows, 150 - columns / 2], axis=-1)
    for shade, (x0, y0, x1, y1) in zip((30, 200, 120), np.int_(BOXES), strict=True):
        pixels[y0:y1, x0:x1, :2] = shade
    return pixels.astype(np.uint8)


def measure(image, boxes) -> list[float]:
    """Describe a sample by numbers: its boxes, and how bright and colourful its parts are."""
    # Rounded, because our boxes are in single precision.
    rim = np.sort(boxes.astype(float), axis=0).round(5) if len(boxes) else np.full((1, 4), -1.0)
    values = image.astype(float)
    quarters = values.reshape(2, SIZE // 2, 2, SIZE // 2, 3).mean(axis=(1, 3, 4)).ravel()
    greatest, least = values.max(axis=-1), values.min(axis=-1)
    return [
        len(boxes),
        *rim[0],
        *rim[-1],
        *values.mean(axis=(0, 1)),
        *values.std(axis=(0, 1)),
        *quarters,
        values.max(),
        values.min(),
        (greatest - least).mean(),
        ((greatest - least) / (greatest + 1)).max(),
        (values.sum(axis=-1) - greatest - 2 * least).mean(),
        values[SIZE // 2, SIZE // 2, 0],
        values[0, 0, 0],
    ]


@cache
def reference(rule: str):
    pixels, rng = make_image(), random.Random(7)
    options = {"rule": rule, "min_ious": MIN_IOUS, "fill": MODEL.mean, "size": SIZE}
    return [measure(*augment(pixels, BOXES, **options, rng=rng)) for _ in range(COUNT)]


def ours(count=COUNT, **changes):
    content, rng = save(Image.fromarray(make_image())), np.random.default_rng(7)
    annotations = make_annotations(BOXES, [1, 2, 3])
    out = np.empty((SIZE, SIZE, 3), np.uint8)
    config = AugmentConfig(crop_min_ious=MIN_IOUS, **changes)
    made = []
    for _ in range(count):
        boxes, _ = sample(content, annotations, rng, config=config, model=MODEL, out=out)
        made.append(measure(out, boxes))
    return made


@pytest.mark.parametrize("rule", sorted(CROPS))
def test_samples_are_distributed_like_those_of_the_reference(rule):
    assert_equally_distributed(ours(crop_rule=rule), reference(rule))


@pytest.mark.parametrize(
    "changes",
    [
        {"crop_rule": "torchvision"},
        {"crop_rule": "mindspore"},
        {"crop_min_scale": 0.5},
        {"zoom_out_probability": 0.3},
        {"zoom_out_max": 2.5},
        {"flip_probability": 0.2},
        {"colours": PhotometricSpec(brightness=0.0)},
        {"colours": PhotometricSpec(contrast=0.2)},
        {"colours": PhotometricSpec(saturation=0.0)},
        {"colours": PhotometricSpec(hue=180.0)},
        {"colours": PhotometricSpec(probability=0.1)},
        {"colours": ColourFactorsSpec()},
    ],
    ids=str,
)
def test_another_configuration_is_distinguished(changes):
    """Otherwise the previous test would prove little; half of its samples are enough."""
    with pytest.raises(AssertionError):
        assert_equally_distributed(ours(COUNT // 2, **changes), reference("mmdetection"))
