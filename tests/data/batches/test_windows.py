"""Zoom-out, crop and flip as a window; each crop rule against a reference for one box at a time."""

import math
import random
from itertools import combinations, product
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision import tv_tensors
from torchvision.transforms import v2

from ssd_core.config import AugmentConfig, CropRule
from ssd_core.data.batches.windows import Window, draw_crop, draw_window, judge_crops, place_boxes
from tests.data.batches.reference_augment import ACCEPTS, CROPS, has_centre, overlap

RULES = sorted(ACCEPTS)
MIN_IOUS = (0.1, 0.3, 0.5, 0.7, 0.9, 0.0)
BOXES = np.array([[10, 10, 30, 30], [60, 40, 90, 70]], np.float32)
WHOLE = (0, 0, 100, 80)


# --- all cases on a small grid


def rectangles(width: int, height: int) -> list[tuple[int, int, int, int]]:
    spans = [list(combinations(range(side + 1), 2)) for side in (width, height)]
    return [(x0, y0, x1, y1) for (x0, x1), (y0, y1) in product(*spans)]


def assert_judged_like_the_reference(rule: str, crops, boxes) -> int:
    """Compare every crop at every limit; return how many were accepted."""
    accepted = 0
    for min_iou in MIN_IOUS:
        is_accepted, is_inside = judge_crops(
            np.array(crops, float).T, np.array(boxes, np.float32), min_iou, rule
        )
        expected = [ACCEPTS[rule](crop, boxes, min_iou) for crop in crops]
        assert is_accepted.tolist() == expected, (boxes, min_iou)
        assert is_inside.tolist() == [[has_centre(crop, box) for box in boxes] for crop in crops]
        accepted += sum(expected)
    return accepted


@pytest.mark.parametrize("rule", RULES)
def test_every_box_with_every_crop_of_a_line(rule):
    """Among them are overlaps of exactly 1/10, 3/10, 1/2, 7/10 and 9/10."""
    crops = rectangles(10, 1)
    assert {overlap(crop, box) for crop, box in product(crops, crops)} >= {*MIN_IOUS}
    accepted = sum(assert_judged_like_the_reference(rule, crops, [box]) for box in crops)
    assert 0 < accepted < len(MIN_IOUS) * len(crops) ** 2


@pytest.mark.parametrize("rule", RULES)
def test_every_pair_of_boxes_with_every_crop_of_a_grid(rule):
    crops = rectangles(3, 3)
    pairs = list(combinations(crops, 2))
    accepted = sum(assert_judged_like_the_reference(rule, crops, pair) for pair in pairs)
    assert 0 < accepted < len(MIN_IOUS) * len(crops) * len(pairs)


@pytest.mark.parametrize("rule", RULES)
def test_many_boxes_of_any_size(rule):
    rng = np.random.default_rng(0)
    accepted = 0
    for _ in range(60):
        corners = np.sort(rng.uniform(0, 50, (rng.integers(1, 9), 2, 2)).astype(np.float32), axis=1)
        starts = rng.integers(0, 25, (30, 2))
        crops = np.hstack([starts, starts + rng.integers(10, 40, (30, 2))]).tolist()
        accepted += assert_judged_like_the_reference(rule, crops, corners.reshape(-1, 4).tolist())
    assert accepted > 500


# --- drawing


def draws(rule: str, boxes, count: int, min_ious=MIN_IOUS):
    config, rng = AugmentConfig(crop_rule=rule, crop_min_ious=min_ious), np.random.default_rng(2)
    return [draw_crop(WHOLE, boxes, config, rng) for _ in range(count)]


def assert_equally_distributed(some, others) -> None:
    """Compare each column of [N, C] and [M, C] by the largest distance of their distributions.

    Of a million comparisons of equal distributions, one fails (Kolmogorov and Smirnov).
    """
    some, others = np.asarray(some, float), np.asarray(others, float)
    limit = 2.7 * np.sqrt((len(some) + len(others)) / (len(some) * len(others)))
    for column in range(some.shape[1]):
        a, b = np.sort(some[:, column]), np.sort(others[:, column])
        values = np.union1d(a, b)
        shares = [np.searchsorted(part, values, side="right") / len(part) for part in (a, b)]
        assert np.abs(shares[0] - shares[1]).max() <= limit, column


def columns(crops):
    return [
        [*crop, crop[2] - crop[0], crop[3] - crop[1], np.asarray(kept).sum(), tuple(crop) == WHOLE]
        for crop, kept in crops
    ]


def reference_draws(rule: str, boxes, count: int):
    rng = random.Random(1)
    crops = (CROPS[rule](WHOLE[2:], boxes.tolist(), MIN_IOUS, rng) for _ in range(count))
    return columns((crop, len(kept)) for crop, kept in crops)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("num_boxes", [0, 1, 2])
def test_crops_are_distributed_like_those_of_the_reference(rule, num_boxes):
    boxes = BOXES[:num_boxes]
    ours = columns(draws(rule, boxes, 2000))
    assert_equally_distributed(ours, reference_draws(rule, boxes, 2000))


@pytest.mark.parametrize(("rule", "other"), [*combinations(RULES, 2)])
def test_the_distributions_of_two_rules_differ(rule, other):
    """Otherwise the previous test would prove nothing."""
    ours = columns(draws(rule, BOXES, 1000))
    with pytest.raises(AssertionError):
        assert_equally_distributed(ours, reference_draws(other, BOXES, 1000))


def test_crops_are_distributed_like_those_of_torchvision():
    transform = v2.RandomIoUCrop(sampler_options=[1.0, *MIN_IOUS])
    box_format = tv_tensors.BoundingBoxFormat.XYXY
    boxes = tv_tensors.BoundingBoxes(BOXES, format=box_format, canvas_size=WHOLE[:1:-1])
    torch.manual_seed(1)
    theirs = []
    for _ in range(250):
        drawn = transform.make_params([boxes])  # nothing for the whole image
        left, top = drawn.get("left", 0), drawn.get("top", 0)
        crop = left, top, left + drawn.get("width", 100), top + drawn.get("height", 80)
        theirs.append((crop, drawn.get("is_within_crop_area", [True] * 2)))
    assert_equally_distributed(columns(draws("torchvision", BOXES, 3000)), columns(theirs))


@pytest.mark.parametrize("rule", ["torchvision", "mindspore"])
def test_an_image_without_boxes_stays_whole(rule):
    assert {crop for crop, _ in draws(rule, BOXES[:0], 50)} == {WHOLE}


def test_an_image_that_no_crop_fits_stays_whole_in_the_end():
    """The box is in a corner, too small for any crop to overlap it enough."""
    box = np.array([[0, 0, 2, 2]], np.float32)
    for rule in RULES:
        crops = draws(rule, box, 50, min_ious=(0.9,))
        assert all(kept.tolist() == [True] for _, kept in crops)
        if rule != "mindspore":  # mindspore accepts a small overlap with an only box
            assert {crop for crop, _ in crops} == {WHOLE}


@pytest.mark.parametrize("rule", RULES)
def test_a_canvas_may_start_anywhere(rule):
    config = AugmentConfig(crop_rule=rule, crop_min_ious=(0.0,))
    shift = np.array([-300, -200, -300, -200])
    for seed in range(50):
        here, kept = draw_crop(WHOLE, BOXES, config, np.random.default_rng(seed))
        canvas = tuple(int(side) for side in shift + WHOLE)
        there, also_kept = draw_crop(canvas, BOXES + shift, config, np.random.default_rng(seed))
        assert there == tuple((shift + here).tolist())
        assert also_kept.tolist() == kept.tolist()


NOTHING = AugmentConfig(zoom_out_probability=0, crop_min_ious=(), flip_probability=0)
ZOOM_OUT = NOTHING.model_copy(update={"zoom_out_probability": 1.0})


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        (Window(-50, 0, 150, 100), [[0.3, 0.1, 0.4, 0.3], [0.55, 0.4, 0.7, 0.7]]),
        (Window(20, 20, 70, 70), [[0, 0, 0.2, 0.2], [0.8, 0.4, 1, 1]]),
        (Window(0, 0, 100, 100, is_flipped=True), [[0.7, 0.1, 0.9, 0.3], [0.1, 0.4, 0.4, 0.7]]),
    ],
    ids=["beyond the image", "clipped", "flipped"],
)
def test_boxes_are_placed_in_the_window(window, expected):
    np.testing.assert_allclose(place_boxes(BOXES, window), expected, atol=1e-6)
    assert place_boxes(BOXES[:0], window).shape == (0, 4)


def draw_windows(config: AugmentConfig, count: int, boxes=BOXES):
    rng = np.random.default_rng(0)
    return [draw_window(WHOLE[2:], boxes, config, rng) for _ in range(count)]


def test_zoom_out_places_the_image_inside_a_canvas_of_its_shape():
    windows = [window for window, _ in draw_windows(ZOOM_OUT, 2000)]
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


def test_a_crop_has_the_overlap_that_was_drawn():
    config = NOTHING.model_copy(update={"crop_min_ious": (0.3,)})
    cut = [(w, kept) for w, kept in draw_windows(config, 300, BOXES[1:]) if w[:4] != WHOLE]
    assert len(cut) > 50
    for window, is_kept in cut:
        assert is_kept.tolist() == [True]
        assert overlap(window[:4], BOXES[1]) >= 0.3


def test_zoom_out_and_crop_combine_into_one_window():
    config = AugmentConfig(zoom_out_probability=1, crop_min_ious=(0.0,), flip_probability=0)
    reaching_out = 0
    for window, is_kept in draw_windows(config, 300):
        assert is_kept.any()
        for box, kept in zip(BOXES, is_kept, strict=True):
            is_whole = window.x0 <= 0 and window.y0 <= 0 and window.x1 >= 100 and window.y1 >= 80
            assert is_whole or kept == has_centre(window[:4], box)
        reaching_out += window.x0 < 0 or window.y0 < 0
    assert reaching_out > 100
