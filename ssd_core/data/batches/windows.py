"""The geometric augmentation: zoom-out, crop and flip as one window on the image.

None of the three reads pixels. So they are drawn from the boxes and the image size alone, and
become one rectangle that may reach beyond the image; no canvas is ever built.

There are three crop rules. Each draws a minimum overlap, then crops whose sides are a share of the
image and whose aspect ratio is at most 2, until a crop contains the centre of a box and overlaps
the boxes enough:

mmdetection   `MinIoURandomCrop`: every box must overlap enough, including boxes that are cut off.
              After 50 attempts a new overlap is drawn. An image without boxes is cropped anywhere.
torchvision   `RandomIoUCrop`: the best of the boxes with their centre inside must overlap enough.
              After 40 attempts a new overlap is drawn. An image without boxes stays whole.
mindspore     `random_sample_crop` of MindSpore's SSD: a crop is rejected only if, among the boxes
              it touches, the smallest overlap is too small and the largest exceeds the minimum by
              more than 0.2; so a crop with little of every box passes. After 50 attempts the image
              stays whole, as it does without boxes.

mmdetection draws the first row and column from 1 on, because of a misplaced argument; here they are
drawn from 0 on, as in the paper and the other systems.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ssd_core.config import AugmentConfig, CropRule
from ssd_core.structures import Array, BoolArray, FloatArray

_MAX_ASPECT = 2.0  # of a crop, in pixels, in either direction
_MINDSPORE_MARGIN = 0.2

Box = tuple[int, int, int, int]
"""x0, y0, x1, y1 in pixels of the image."""


class Window(NamedTuple):
    """The part of the plane that becomes the network input, in pixels of the image."""

    x0: int
    y0: int
    x1: int
    """Exclusive."""
    y1: int
    """Exclusive."""
    is_flipped: bool = False
    """Left and right are exchanged."""


class _Rule(NamedTuple):
    accepts: Callable[[Array, BoolArray, float], BoolArray]
    """Maps the IoU [T, G] of crops and boxes, G at least 1, whether each centre is inside [T, G],
    and the minimum overlap to a mask [T] of the crops that are good enough."""
    num_attempts: int = 50
    draws_again: bool = True
    """After all attempts another overlap is drawn; otherwise the image stays whole."""
    crops_without_boxes: bool = False
    has_whole_sides: bool = False
    """The sides are rounded down before the origin is drawn; otherwise only the corners are."""


def draw_window(
    size: tuple[int, int], boxes: FloatArray, config: AugmentConfig, rng: np.random.Generator
) -> tuple[Window, BoolArray]:
    """Draw zoom-out, crop and flip (SSD paper, section 2.2) for an image of (width, height).

    Return the window, and a mask [G] of the boxes [G, 4] that stay: those with their centre in the
    crop. Boxes are in pixels of the image.
    """
    canvas = _draw_canvas(size, config, rng)
    crop, is_kept = draw_crop(canvas, boxes, config, rng)
    is_flipped = rng.random() < config.flip_probability
    return Window(*crop, is_flipped), is_kept


def place_boxes(boxes: FloatArray, window: Window) -> FloatArray:
    """Return [G, 4] boxes in [0, 1] of the window, clipped to it; the area of some may be 0."""
    origin = np.array([window.x0, window.y0] * 2)
    sides = np.array([window.x1 - window.x0, window.y1 - window.y0] * 2)
    placed: FloatArray = np.clip((boxes - origin) / sides, 0, 1).astype(np.float32)
    if window.is_flipped:
        placed[:, [0, 2]] = 1 - placed[:, [2, 0]]
    return placed


def _draw_canvas(size: tuple[int, int], config: AugmentConfig, rng: np.random.Generator) -> Box:
    """Place the image on a larger canvas; return the canvas in pixels of the image."""
    width, height = size
    if rng.random() >= config.zoom_out_probability:
        return 0, 0, width, height
    ratio = rng.uniform(1, config.zoom_out_max)
    left, top = (int(rng.uniform(0, side * ratio - side)) for side in size)
    return -left, -top, int(width * ratio) - left, int(height * ratio) - top


def draw_crop(
    canvas: Box, boxes: FloatArray, config: AugmentConfig, rng: np.random.Generator
) -> tuple[Box, BoolArray]:
    """Return a crop of the canvas, or the whole canvas, and a mask [G] of the boxes that stay.

    Those have their centre inside; in the whole canvas all stay. The canvas may reach beyond the
    image, in whose pixels the boxes [G, 4] are.
    """
    rule = _RULES[config.crop_rule]
    whole = canvas, np.ones(len(boxes), np.bool_)
    if not (len(boxes) or rule.crops_without_boxes):
        return whole
    choices = (*config.crop_min_ious, None)
    while True:
        min_iou = choices[rng.integers(len(choices))]
        if min_iou is None:
            return whole
        crops = _draw_crops(canvas, config.crop_min_scale, rule, rng)
        is_accepted, is_inside = judge_crops(crops, boxes, min_iou, config.crop_rule)
        if is_accepted.any():
            first = int(is_accepted.argmax())
            x0, y0, x1, y1 = crops[:, first].astype(int).tolist()
            return (x0, y0, x1, y1), is_inside[first]
        if not rule.draws_again:
            return whole


def judge_crops(
    crops: Array, boxes: FloatArray, min_iou: float, rule: CropRule
) -> tuple[BoolArray, BoolArray]:
    """Decide which crops, [4, T] x0, y0, x1, y1 with an area, a rule accepts for boxes [G, 4].

    Without boxes every crop is accepted.

    Returns:
        [T] True for an accepted crop, and [T, G] True where the centre of a box is inside.
    """
    x0, y0, x1, y1 = crops[:, :, None]
    left, top, right, bottom = boxes.T.astype(np.float64)
    centre_x, centre_y = (left + right) / 2, (top + bottom) / 2
    is_inside = (centre_x > x0) & (centre_x < x1) & (centre_y > y0) & (centre_y < y1)
    if len(boxes) == 0:
        return np.ones(crops.shape[1], np.bool_), is_inside
    common_width = np.minimum(x1, right) - np.maximum(x0, left)
    common_height = np.minimum(y1, bottom) - np.maximum(y0, top)
    common = np.maximum(common_width, 0) * np.maximum(common_height, 0)
    union = (x1 - x0) * (y1 - y0) + (right - left) * (bottom - top) - common
    # Comparing the quotient, not a product with the limit, makes an IoU of exactly 7/10 equal 0.7.
    return _RULES[rule].accepts(common / union, is_inside, min_iou), is_inside


def _draw_crops(canvas: Box, min_scale: float, rule: _Rule, rng: np.random.Generator) -> Array:
    """Return [4, T] x0, y0, x1, y1: the attempts with a valid shape, in order, in whole pixels."""
    origin, end = np.array(canvas).reshape(2, 2, 1)
    draws = rng.random((4, rule.num_attempts))
    sides = (end - origin) * (min_scale + (1 - min_scale) * draws[:2])
    if rule.has_whole_sides:
        sides = np.floor(sides)
    starts = draws[2:] * (end - origin - sides)
    corners = np.floor(np.concatenate([starts, starts + sides]))
    has_shape = (sides.max(axis=0) <= _MAX_ASPECT * sides.min(axis=0)) & (
        corners[2:] > corners[:2]
    ).all(axis=0)
    crops: Array = (corners.reshape(2, 2, -1) + origin).reshape(4, -1)[:, has_shape]
    return crops


def _every_box_overlaps(iou: Array, is_inside: BoolArray, min_iou: float) -> BoolArray:
    overlaps: BoolArray = np.all(iou >= min_iou, axis=1)
    return overlaps & is_inside.any(axis=1)


def _best_box_overlaps(iou: Array, is_inside: BoolArray, min_iou: float) -> BoolArray:
    overlaps: BoolArray = np.any(is_inside & (iou >= min_iou), axis=1)
    return overlaps


def _overlaps_are_even(iou: Array, is_inside: BoolArray, min_iou: float) -> BoolArray:
    is_touched = iou > 0
    smallest = np.where(is_touched, iou, np.inf).min(axis=1)
    is_uneven: BoolArray = (smallest < min_iou) & (iou.max(axis=1) > min_iou + _MINDSPORE_MARGIN)
    is_held: BoolArray = np.any(is_inside & is_touched, axis=1)
    return is_held & ~is_uneven


_RULES: dict[CropRule, _Rule] = {
    "mmdetection": _Rule(_every_box_overlaps, crops_without_boxes=True),
    "torchvision": _Rule(_best_box_overlaps, num_attempts=40, has_whole_sides=True),
    "mindspore": _Rule(_overlaps_are_even, draws_again=False),
}
