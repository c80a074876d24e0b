"""Zoom-out, crop and flip as a window, and which boxes stay in it."""

import math
from typing import get_args

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ssd_core.config import AugmentConfig, CropRule
from ssd_core.data.batches.windows import Window, draw_window, place_boxes
from tests.data.batches.reference_augment import has_centre, overlap

NOTHING = AugmentConfig(zoom_out_probability=0, crop_min_ious=(), flip_probability=0)
ZOOM_OUT = NOTHING.model_copy(update={"zoom_out_probability": 1.0})
BOXES = np.array([[10, 10, 30, 30], [60, 40, 90, 70]], np.float32)


def crop_config(*min_ious: float, **fields) -> AugmentConfig:
    return NOTHING.model_copy(update={"crop_min_ious": min_ious, **fields})


# --- placing boxes


def test_boxes_move_with_the_window_and_are_clipped():
    window = Window(-50, 0, 150, 100)
    expected = [[0.3, 0.1, 0.4, 0.3], [0.55, 0.4, 0.7, 0.7]]
    np.testing.assert_allclose(place_boxes(BOXES, window), expected, atol=1e-6)
    inner = Window(20, 20, 70, 70)
    expected = [[0, 0, 0.2, 0.2], [0.8, 0.4, 1, 1]]
    np.testing.assert_allclose(place_boxes(BOXES, inner), expected, atol=1e-6)


def test_a_flip_exchanges_left_and_right():
    window = Window(0, 0, 100, 100, is_flipped=True)
    expected = [[0.7, 0.1, 0.9, 0.3], [0.1, 0.4, 0.4, 0.7]]
    np.testing.assert_allclose(place_boxes(BOXES, window), expected, atol=1e-6)


def test_no_boxes_stay_no_boxes():
    assert place_boxes(np.zeros((0, 4), np.float32), Window(0, 0, 9, 9, True)).shape == (0, 4)


# --- drawing


def draws(config: AugmentConfig, count: int, boxes=BOXES, size=(100, 80), seed=0):
    rng = np.random.default_rng(seed)
    return [draw_window(size, boxes, config, rng) for _ in range(count)]


def test_nothing_drawn_is_the_whole_image():
    window, is_kept = draws(NOTHING, 1)[0]
    assert window == (0, 0, 100, 80, False)
    assert is_kept.tolist() == [True, True]


def test_flip_has_its_probability():
    config = NOTHING.model_copy(update={"flip_probability": 0.25})
    share = np.mean([window.is_flipped for window, _ in draws(config, 4000)])
    assert abs(share - 0.25) < 5 * math.sqrt(0.25 * 0.75 / 4000)


def test_zoom_out_places_the_image_inside_a_canvas_of_its_shape():
    windows = [window for window, _ in draws(ZOOM_OUT, 2000)]
    ratios = np.array([(w.x1 - w.x0) / 100 for w in windows])
    assert ((ratios >= 1) & (ratios <= 4)).all()
    assert abs(ratios.mean() - 2.5) < 5 * math.sqrt(9 / 12 / 2000) + 0.01
    for window in windows:
        assert window.x0 <= 0 <= 100 <= window.x1
        assert window.y0 <= 0 <= 80 <= window.y1
        assert abs((window.y1 - window.y0) / 80 - (window.x1 - window.x0) / 100) < 1 / 80


@given(st.integers(1, 700), st.integers(1, 700), st.integers(0, 2**32))
def test_any_image_size_gives_a_window_with_an_area(width, height, seed):
    rng = np.random.default_rng(seed)
    boxes = np.array([[0, 0, width / 2, height]], np.float32)
    for rule in get_args(CropRule):
        config = AugmentConfig(crop_rule=rule)
        for some in (boxes, boxes[:0]):
            window, is_kept = draw_window((width, height), some, config, rng)
            assert window.x1 > window.x0
            assert window.y1 > window.y0
            assert is_kept.shape == (len(some),)
            assert is_kept.any() == (len(some) > 0)


def test_a_crop_keeps_the_overlap_it_drew():
    config = crop_config(0.3)
    crops = [(window, kept) for window, kept in draws(config, 300, BOXES[1:])]
    cut = [(w, kept) for w, kept in crops if w[:4] != (0, 0, 100, 80)]
    assert len(cut) > 50
    for window, is_kept in cut:
        assert is_kept.tolist() == [True]
        assert overlap(window[:4], BOXES[1]) >= 0.3


def test_zoom_out_and_crop_compose_to_one_window():
    config = AugmentConfig(zoom_out_probability=1, crop_min_ious=(0.0,), flip_probability=0)
    reaching_out = 0
    for window, is_kept in draws(config, 300):
        assert is_kept.any()
        for box, kept in zip(BOXES, is_kept, strict=True):
            is_whole = window.x0 <= 0 and window.y0 <= 0 and window.x1 >= 100 and window.y1 >= 80
            assert is_whole or kept == has_centre(window[:4], box)
        reaching_out += window.x0 < 0 or window.y0 < 0
    assert reaching_out > 100
