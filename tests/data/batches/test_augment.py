"""A training sample: its window of the image, the boxes in it, and its colours."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from ssd_core.config import AugmentConfig, PhotometricSpec
from ssd_core.data.batches.augment import render_window, sample
from ssd_core.data.batches.resize import load_image
from ssd_core.data.batches.windows import Window
from ssd_core.data.decode import decode_image
from ssd_core.structures import make_annotations
from tests.data.image_corpus import save
from tests.small_model import describe_input

FOLDER = Path(__file__).parents[3] / "examples/bccd/JPEGImages"
IMAGES = [path.read_bytes() for path in sorted(FOLDER.iterdir())[:3]]
IMAGE = IMAGES[0]
NO_OBJECTS = make_annotations([], [])
NOTHING = AugmentConfig(
    zoom_out_probability=0,
    crop_min_ious=(),
    flip_probability=0,
    colours=PhotometricSpec(probability=0),
)


def make_sample(image: bytes, annotations, config=NOTHING, *, seed=0, size=32, **model):
    """Return the image, the boxes and the labels of a training sample."""
    out = np.empty((size, size, 3), np.uint8)
    rng = np.random.default_rng(seed)
    return out, *sample(
        image, annotations, rng, config=config, model=describe_input(size, **model), out=out
    )


def draw(image: bytes, window: Window, size: int):
    out = np.zeros((size, size, 3), np.uint8)
    render_window(decode_image(image), window, describe_input(size), out=out)
    return out


def paint_cut_and_scale(image: bytes, window: Window, size: int):
    """Do the same step by step in float32: a canvas under image and window, a crop, a resize."""
    pixels = decode_image(image)
    height, width = pixels.shape[:2]
    left, top = min(0, window.x0), min(0, window.y0)
    right, bottom = max(width, window.x1), max(height, window.y1)
    canvas = np.full(
        (bottom - top, right - left, 3), np.rint(describe_input(size).mean), np.float32
    )
    canvas[-top : height - top, -left : width - left] = pixels
    cut = canvas[window.y0 - top : window.y1 - top, window.x0 - left : window.x1 - left]
    scaled = cv2.resize(cut, (size, size), interpolation=cv2.INTER_LINEAR)
    return scaled[:, ::-1] if window.is_flipped else scaled


WINDOWS = {
    "whole": Window(0, 0, 640, 480),
    "crop": Window(101, 53, 470, 391),
    "zoomed out": Window(-300, -700, 1500, 650),
    "all around": Window(-1, -1, 641, 481),
    "over one corner": Window(333, 222, 900, 700),
    "over the left edge": Window(-77, 100, 251, 441),
    "beside the image": Window(700, 10, 1200, 900),
}


@pytest.mark.parametrize("is_flipped", [False, True])
@pytest.mark.parametrize("name", WINDOWS)
def test_a_window_equals_canvas_crop_and_resize(name, is_flipped):
    window = WINDOWS[name]._replace(is_flipped=is_flipped)
    difference = np.abs(draw(IMAGE, window, 300) - paint_cut_and_scale(IMAGE, window, 300))
    assert difference.max() <= 1.01
    assert difference.mean() < 0.4


def test_an_enlarged_window_differs_only_at_its_rim():
    window = Window(600, 400, 700, 500)
    difference = np.abs(draw(IMAGE, window, 300) - paint_cut_and_scale(IMAGE, window, 300))
    assert difference[2:-2, 2:-2].max() <= 1.01


@pytest.mark.parametrize("resize", ["half_pixel", "asymmetric"])
def test_without_changes_a_sample_equals_the_input_of_evaluation(resize):
    annotations = make_annotations([[64, 48, 320, 240], [0, 0, 640, 480]], [2, 1])
    out, boxes, labels = make_sample(IMAGE, annotations, size=300, resize=resize)
    expected, size = load_image(IMAGE, describe_input(300, resize=resize))
    np.testing.assert_array_equal(out, expected)
    assert size == (640, 480)
    np.testing.assert_allclose(boxes, [[0.1, 0.1, 0.5, 0.5], [0, 0, 1, 1]], atol=1e-6)
    assert boxes.dtype == np.float32
    assert labels.tolist() == [2, 1]


def test_boxes_follow_the_pixels():
    """A white rectangle on black is where its box is."""
    pixels = np.zeros((240, 320, 3), np.uint8)
    pixels[60:180, 80:240] = 255
    annotations = make_annotations([[80, 60, 240, 180]], [1])
    image = save(Image.fromarray(pixels))
    config = AugmentConfig(colours=PhotometricSpec(probability=0))
    options = {"size": 200, "mean": (0, 0, 0)}
    for seed in range(150):
        out, boxes, labels = make_sample(image, annotations, config, seed=seed, **options)
        rows, columns = np.nonzero(out[..., 0] > 127)
        found = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
        assert np.abs(found - boxes[0] * 200).max() <= 1.5, seed
        assert labels.tolist() == [1]


def test_boxes_are_clipped_and_those_without_area_dropped():
    annotations = make_annotations([[-50, 0, 64, 48], [700, 0, 800, 48], [9, 9, 9, 30]], [1, 2, 3])
    _, boxes, labels = make_sample(IMAGE, annotations)
    np.testing.assert_allclose(boxes, [[0, 0, 0.1, 0.1]], atol=1e-6)
    assert labels.tolist() == [1]


def test_crowds_are_not_targets_and_do_not_affect_the_crop():
    boxes, labels = [[10, 10, 60, 60], [0, 0, 640, 480]], [1, 2]
    alone = make_annotations(boxes[:1], labels[:1])
    crowded = make_annotations(boxes, labels, is_crowd=[False, True])
    for seed in range(20):
        results = (
            make_sample(IMAGE, objects, AugmentConfig(), seed=seed) for objects in (alone, crowded)
        )
        for first, second in zip(*results, strict=True):
            np.testing.assert_array_equal(first, second)


def test_images_without_objects_are_augmented_too():
    images = set()
    for seed in range(20):
        out, boxes, labels = make_sample(IMAGE, NO_OBJECTS, AugmentConfig(), seed=seed)
        assert boxes.shape == (0, 4)
        assert labels.shape == (0,)
        images.add(out.tobytes())
    assert len(images) == 20
