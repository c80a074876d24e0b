"""A training sample: its window of the image, and the boxes in it."""

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from ssd_core.config import AugmentConfig
from ssd_core.data.batches.augment import render_window, sample
from ssd_core.data.batches.windows import Window
from ssd_core.data.decode import decode_image, load_image
from ssd_core.errors import DataError
from ssd_core.structures import make_annotations

PHOTO = sorted((Path(__file__).parents[3] / "examples/bccd/JPEGImages").iterdir())[0].read_bytes()
FILL = (123.675, 116.28, 103.53)
NOTHING = AugmentConfig(
    zoom_out_probability=0, crop_min_ious=(), flip_probability=0, photometric_probability=0
)


def png(pixels) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def draw(image: bytes, window: Window, size: int):
    pixels = decode_image(image)
    out = np.zeros((size, size, 3), np.uint8)
    render_window(image, pixels.shape[1::-1], window, FILL, out=out)
    return out


def paint_cut_and_scale(image: bytes, window: Window, size: int):
    """The same by the long way, in float32: a canvas under image and window, a crop, a resize."""
    pixels = decode_image(image)
    height, width = pixels.shape[:2]
    left, top = min(0, window.x0), min(0, window.y0)
    right, bottom = max(width, window.x1), max(height, window.y1)
    canvas = np.full((bottom - top, right - left, 3), np.rint(FILL), np.float32)
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
    difference = np.abs(draw(PHOTO, window, 300) - paint_cut_and_scale(PHOTO, window, 300))
    assert difference.max() <= 1.01
    assert difference.mean() < 0.4


def test_an_enlarged_window_differs_at_its_rim_only():
    window = Window(600, 400, 700, 500)
    difference = np.abs(draw(PHOTO, window, 300) - paint_cut_and_scale(PHOTO, window, 300))
    assert difference[2:-2, 2:-2].max() <= 1.01


def test_random_windows_equal_canvas_crop_and_resize():
    rng = np.random.default_rng(0)
    noise = png(rng.integers(0, 256, (40, 50, 3)).astype(np.uint8))
    for _ in range(100):
        x0, y0 = rng.integers(-60, 40, 2)
        width, height = rng.integers(32, 100, 2)
        window = Window(*map(int, (x0, y0, x0 + width, y0 + height)), bool(rng.integers(2)))
        difference = np.abs(draw(noise, window, 32) - paint_cut_and_scale(noise, window, 32))
        assert difference.max() <= 1.01, window


def test_without_changes_a_sample_is_what_evaluation_sees():
    out = np.empty((300, 300, 3), np.uint8)
    annotations = make_annotations([[64, 48, 320, 240], [0, 0, 640, 480]], [2, 1])
    boxes, labels = sample(
        PHOTO, annotations, np.random.default_rng(0), config=NOTHING, fill=FILL, out=out
    )
    np.testing.assert_array_equal(out, load_image(PHOTO, 300)[0])
    np.testing.assert_allclose(boxes, [[0.1, 0.1, 0.5, 0.5], [0, 0, 1, 1]], atol=1e-6)
    assert boxes.dtype == np.float32
    assert labels.tolist() == [2, 1]


def test_boxes_follow_the_pixels():
    """A white rectangle on black is found again where its box says."""
    pixels = np.zeros((240, 320, 3), np.uint8)
    pixels[60:180, 80:240] = 255
    annotations = make_annotations([[80, 60, 240, 180]], [1])
    config = AugmentConfig(photometric_probability=0)
    out = np.empty((200, 200, 3), np.uint8)
    seen = 0
    for seed in range(150):
        rng = np.random.default_rng(seed)
        boxes, labels = sample(
            png(pixels), annotations, rng, config=config, fill=(0, 0, 0), out=out
        )
        rows, columns = np.nonzero(out[..., 0] > 127)
        found = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
        if len(boxes):
            assert np.abs(found - boxes[0] * 200).max() <= 1.5, seed
            assert labels.tolist() == [1]
            seen += 1
    assert seen == 150


def test_boxes_are_clipped_and_those_without_area_dropped():
    annotations = make_annotations([[-50, 0, 64, 48], [700, 0, 800, 48], [9, 9, 9, 30]], [1, 2, 3])
    out = np.empty((32, 32, 3), np.uint8)
    boxes, labels = sample(
        PHOTO, annotations, np.random.default_rng(0), config=NOTHING, fill=FILL, out=out
    )
    np.testing.assert_allclose(boxes, [[0, 0, 0.1, 0.1]], atol=1e-6)
    assert labels.tolist() == [1]


def test_crowds_are_no_targets_and_do_not_steer_the_crop():
    boxes, labels = [[10, 10, 60, 60], [0, 0, 640, 480]], [1, 2]
    alone = make_annotations(boxes[:1], labels[:1])
    crowded = make_annotations(boxes, labels, is_crowd=[False, True])
    for seed in range(20):
        results = []
        for annotations in (alone, crowded):
            out = np.empty((64, 64, 3), np.uint8)
            rng = np.random.default_rng(seed)
            targets = sample(PHOTO, annotations, rng, config=AugmentConfig(), fill=FILL, out=out)
            results.append([out, *targets])
        for first, second in zip(*results, strict=True):
            np.testing.assert_array_equal(first, second)


def test_images_without_objects_are_augmented_too():
    images = set()
    for seed in range(20):
        out = np.empty((32, 32, 3), np.uint8)
        rng = np.random.default_rng(seed)
        boxes, labels = sample(
            PHOTO, make_annotations([], []), rng, config=AugmentConfig(), fill=FILL, out=out
        )
        assert boxes.shape == (0, 4)
        assert labels.shape == (0,)
        images.add(out.tobytes())
    assert len(images) == 20


def test_an_unreadable_image_is_a_data_error():
    with pytest.raises(DataError, match="known format"):
        sample(
            b"not an image",
            make_annotations([], []),
            np.random.default_rng(0),
            config=AugmentConfig(),
            fill=FILL,
            out=np.empty((8, 8, 3), np.uint8),
        )
