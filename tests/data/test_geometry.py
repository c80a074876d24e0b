"""Zoom-out, crop and flip as a window, and which boxes stay in it."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssd_core.config import AugmentConfig
from ssd_core.data.geometry import Window, draw_window, judge_crops, place_boxes

NOTHING = AugmentConfig(zoom_out_probability=0, crop_min_ious=(), flip_probability=0)
ZOOM_OUT = NOTHING.model_copy(update={"zoom_out_probability": 1.0})
BOXES = np.array([[10, 10, 30, 30], [60, 40, 90, 70]], np.float32)


def crop_config(*min_ious: float, **fields) -> AugmentConfig:
    return NOTHING.model_copy(update={"crop_min_ious": min_ious, **fields})


def judge(crop: list[float], boxes: list[list[float]], min_iou: float, rule: str):
    accepted, inside = judge_crops(
        np.array(crop, float)[:, None], np.array(boxes, np.float32).reshape(-1, 4), min_iou, rule
    )
    return bool(accepted[0]), inside[0].tolist()


# --- crop rules on literal cases


@pytest.mark.parametrize("rule", ["every_box", "best_box"])
def test_overlap_exactly_at_the_limit_is_accepted(rule):
    # the box is half of the crop: IoU 0.5
    assert judge([0, 0, 10, 10], [[0, 0, 10, 5]], 0.5, rule) == (True, [True])
    assert judge([0, 0, 10, 10], [[0, 0, 10, 4]], 0.5, rule) == (False, [True])


def test_every_box_wants_the_overlap_of_all_and_best_box_of_one():
    boxes = [[0, 0, 10, 5], [0, 0, 10, 1]]  # IoU 0.5 and 0.1
    assert judge([0, 0, 10, 10], boxes, 0.3, "every_box") == (False, [True, True])
    assert judge([0, 0, 10, 10], boxes, 0.3, "best_box") == (True, [True, True])


def test_best_box_counts_only_boxes_with_their_centre_inside():
    outer, inner = [0, 0, 10, 21], [4, 4, 6, 6]  # IoU 0.48 with its centre outside; IoU 0.04
    assert judge([0, 0, 10, 10], [outer], 0.0, "best_box") == (False, [False])
    assert judge([0, 0, 10, 10], [outer, inner], 0.3, "best_box") == (False, [False, True])
    assert judge([0, 0, 10, 10], [outer, inner], 0.3, "every_box") == (False, [False, True])
    assert judge([0, 0, 10, 10], [outer, inner], 0.03, "every_box") == (True, [False, True])


@pytest.mark.parametrize("rule", ["every_box", "best_box"])
def test_overlap_zero_accepts_any_crop_that_holds_a_centre(rule):
    far = [50, 50, 60, 60]
    assert judge([0, 0, 10, 10], [[4, 4, 6, 6], far], 0.0, rule) == (True, [True, False])
    assert judge([0, 0, 10, 10], [far], 0.0, rule) == (False, [False])


def test_a_centre_on_the_edge_is_outside():
    assert judge([0, 0, 10, 10], [[5, 0, 15, 10]], 0.0, "every_box") == (False, [False])


@pytest.mark.parametrize("rule", ["every_box", "best_box"])
def test_without_boxes_only_the_shape_counts(rule):
    assert judge([0, 0, 10, 5], [], 0.9, rule) == (True, [])
    assert judge([0, 0, 10, 4], [], 0.9, rule) == (False, [])
    assert judge([0, 0, 4, 10], [], 0.9, rule) == (False, [])
    assert judge([0, 0, 10, 20], [], 0.9, rule) == (True, [])
    assert judge([0, 0, 10, 21], [], 0.9, rule) == (False, [])
    assert judge([3, 3, 3, 3], [], 0.9, rule) == (False, [])


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
    for rule in ("every_box", "best_box"):
        config = AugmentConfig(crop_rule=rule)
        for some in (boxes, boxes[:0]):
            window, is_kept = draw_window((width, height), some, config, rng)
            assert window.x1 > window.x0
            assert window.y1 > window.y0
            assert is_kept.shape == (len(some),)
            assert is_kept.any() == (len(some) > 0)


def naive_crop(size, boxes, config: AugmentConfig, rng):
    """One try after the other, one box after the other, as the paper tells it."""
    width, height = size
    while True:
        choice = rng.integers(len(config.crop_min_ious) + 1)
        if choice == len(config.crop_min_ious):
            return (0, 0, width, height), [True] * len(boxes)
        for _ in range(50):
            crop_width = rng.uniform(config.crop_min_scale * width, width)
            crop_height = rng.uniform(config.crop_min_scale * height, height)
            left, top = rng.uniform(0, width - crop_width), rng.uniform(0, height - crop_height)
            crop = (int(left), int(top), int(left + crop_width), int(top + crop_height))
            if is_acceptable(crop, boxes, config.crop_min_ious[choice], config.crop_rule):
                return crop, [has_centre(crop, box) for box in boxes]


def has_centre(crop, box) -> bool:
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    return crop[0] < x < crop[2] and crop[1] < y < crop[3]


def overlap(crop, box) -> float:
    width = max(0.0, min(crop[2], box[2]) - max(crop[0], box[0]))
    height = max(0.0, min(crop[3], box[3]) - max(crop[1], box[1]))
    areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (crop, box)]
    return width * height / (sum(areas) - width * height)


def is_acceptable(crop, boxes, min_iou: float, rule: str) -> bool:
    width, height = crop[2] - crop[0], crop[3] - crop[1]
    if not 0.5 <= height / width <= 2:
        return False
    kept = [box for box in boxes if has_centre(crop, box)]
    if len(boxes) == 0:
        return True
    if rule == "every_box":
        return bool(kept) and min(overlap(crop, box) for box in boxes) >= min_iou
    return bool(kept) and max(overlap(crop, box) for box in kept) >= min_iou


@pytest.mark.parametrize("rule", ["every_box", "best_box"])
@pytest.mark.parametrize("num_boxes", [0, 1, 2])
def test_crops_are_distributed_as_those_of_the_naive_loop(rule, num_boxes):
    config = crop_config(0.1, 0.5, 0.0, crop_rule=rule)
    boxes, size, count = BOXES[:num_boxes], (100, 80), 1500
    rng = np.random.default_rng(1)
    naive = [naive_crop(size, boxes, config, rng) for _ in range(count)]
    ours = draws(config, count, boxes, size, seed=2)
    columns = [
        np.array(
            [[*crop[:4], sum(kept), tuple(crop[:4]) == (0, 0, 100, 80)] for crop, kept in some]
        )
        for some in (naive, ours)
    ]
    spread = np.sqrt((columns[0].var(axis=0) + columns[1].var(axis=0)) / count)
    difference = np.abs(columns[0].mean(axis=0) - columns[1].mean(axis=0))
    assert (difference <= 4.5 * spread).all(), (difference, spread)


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
