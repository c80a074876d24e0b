"""Where the network looks in and around an image: drawn from the boxes alone, before any decoding.

Zoom-out, crop and flip never read pixels, so the three become one window on the image, which may
reach beyond it, and no canvas is ever built.
"""

from typing import NamedTuple

import numpy as np

from ssd_core.config import AugmentConfig
from ssd_core.data.crops import draw_crop
from ssd_core.structures import BoolArray, FloatArray


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
    """Draw zoom-out, crop and flip (SSD paper, section 2.2).

    Args:
        size: (width, height) of the image.
        boxes: [G, 4] xyxy in pixels of the image; G may be 0.
        config: probabilities and limits.
        rng: source of all randomness.

    Returns:
        The window, and a mask [G] of the boxes that stay: those with their centre in the crop.
    """
    canvas = _draw_canvas(size, config, rng)
    crop, is_kept = draw_crop(canvas, boxes, config, rng)
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
