"""Where the network looks in and around an image: drawn from the boxes alone, before any decoding.

Zoom-out, crop and flip never read pixels, so the three become one window on the image, which may
reach beyond it, and no canvas is ever built.
"""

from typing import NamedTuple

import numpy as np

from ssd_core.config import AugmentConfig, CropRule
from ssd_core.structures import Array, BoolArray, FloatArray

_NUM_TRIES = 50
"""Crops tried before another overlap is drawn (Caffe SSD; torchvision tries 40 times)."""

_MAX_ASPECT = 2.0  # of a crop, in pixels, either way


class Window(NamedTuple):
    """The part of the plane that becomes the network input, in pixels of the image."""

    x0: int
    y0: int
    x1: int
    """The first column that no longer belongs to it."""
    y1: int
    is_flipped: bool = False
    """Left and right are exchanged."""


def draw_window(
    size: tuple[int, int], boxes: FloatArray, config: AugmentConfig, rng: np.random.Generator
) -> tuple[Window, BoolArray]:
    """Draw zoom-out, crop and flip (SSD paper, section 2.2, as mmdetection draws them).

    Args:
        size: (width, height) of the image.
        boxes: [G, 4] xyxy in pixels of the image; G may be 0.
        config: probabilities and limits.
        rng: source of all randomness.

    Returns:
        The window, and a mask [G] of the boxes that stay: those with their centre in the crop.
    """
    canvas = _draw_canvas(size, config, rng)
    crop, is_kept = _draw_crop(canvas, boxes, config, rng)
    is_flipped = rng.random() < config.flip_probability
    return Window(*crop, is_flipped), is_kept


def place_boxes(boxes: FloatArray, window: Window) -> FloatArray:
    """Return [G, 4] boxes in [0, 1] of the window, clipped to it; they may be left without area."""
    origin = np.array([window.x0, window.y0] * 2)
    sides = np.array([window.x1 - window.x0, window.y1 - window.y0] * 2)
    placed: FloatArray = np.clip((boxes - origin) / sides, 0, 1).astype(np.float32)
    if window.is_flipped:
        placed[:, [0, 2]] = 1 - placed[:, [2, 0]]
    return placed


def _draw_canvas(
    size: tuple[int, int], config: AugmentConfig, rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """Place the image on a larger canvas; return the canvas in pixels of the image."""
    width, height = size
    if rng.random() >= config.zoom_out_probability:
        return 0, 0, width, height
    ratio = rng.uniform(1, config.zoom_out_max)
    left, top = (int(rng.uniform(0, side * ratio - side)) for side in size)
    return -left, -top, int(width * ratio) - left, int(height * ratio) - top


def _draw_crop(
    canvas: tuple[int, int, int, int],
    boxes: FloatArray,
    config: AugmentConfig,
    rng: np.random.Generator,
) -> tuple[tuple[int, int, int, int], BoolArray]:
    """Draw an overlap, then a crop that has it; another overlap when none of the tries has it."""
    choices = (*config.crop_min_ious, None)
    while True:
        min_iou = choices[rng.integers(len(choices))]
        if min_iou is None:
            return canvas, np.ones(len(boxes), np.bool_)
        crops = _draw_crops(canvas, config.crop_min_scale, rng)
        is_accepted, is_inside = judge_crops(crops, boxes, min_iou, config.crop_rule)
        first = int(is_accepted.argmax())
        if is_accepted[first]:
            x0, y0, x1, y1 = crops[:, first].astype(int).tolist()
            return (x0, y0, x1, y1), is_inside[first]


def _draw_crops(
    canvas: tuple[int, int, int, int], min_scale: float, rng: np.random.Generator
) -> Array:
    """Return [4, _NUM_TRIES] crops of the canvas, x0 y0 x1 y1, as whole numbers."""
    origin, end = np.array(canvas).reshape(2, 2, 1)
    draws = rng.random((4, _NUM_TRIES))
    sides = (end - origin) * (min_scale + (1 - min_scale) * draws[:2])
    starts = draws[2:] * (end - origin - sides)
    crops: Array = np.concatenate([origin + np.floor(starts), origin + np.floor(starts + sides)])
    return crops


def judge_crops(
    crops: Array, boxes: FloatArray, min_iou: float, rule: CropRule
) -> tuple[BoolArray, BoolArray]:
    """Decide which crops an image may be cut to.

    A crop must have an area and an aspect ratio of at most 2, hold the centre of a box if there
    are boxes, and overlap the boxes as the rule says.

    Args:
        crops: [4, T] x0, y0, x1, y1.
        boxes: [G, 4] xyxy in the same pixels.
        min_iou: smallest overlap; 0 accepts any.
        rule: `every_box`: each box has the overlap; `best_box`: one with its centre inside has.

    Returns:
        [T] True for an accepted crop, and [T, G] True where the centre of a box is inside.
    """
    x0, y0, x1, y1 = crops[:, :, None]
    left, top, right, bottom = boxes.T
    centre_x, centre_y = (left + right) / 2, (top + bottom) / 2
    is_inside = (centre_x > x0) & (centre_x < x1) & (centre_y > y0) & (centre_y < y1)
    widths, heights = x1 - x0, y1 - y0
    is_accepted = (
        (np.minimum(widths, heights) > 0)
        & (heights <= _MAX_ASPECT * widths)
        & (widths <= _MAX_ASPECT * heights)
    )[:, 0]
    if len(boxes) == 0:
        return is_accepted, is_inside
    common_width = np.minimum(x1, right) - np.maximum(x0, left)
    common_height = np.minimum(y1, bottom) - np.maximum(y0, top)
    common = np.maximum(common_width, 0) * np.maximum(common_height, 0)
    union = widths * heights + (right - left) * (bottom - top) - common
    is_overlapping: BoolArray = common >= min_iou * union
    if rule == "every_box":
        is_accepted &= is_inside.any(1) & is_overlapping.all(1)
    else:
        is_accepted &= (is_inside & is_overlapping).any(1)
    return is_accepted, is_inside
