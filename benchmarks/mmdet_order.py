"""The peer of augmentation: the steps of mmdetection 3.x for SSD300, in cv2 and NumPy.

Written from its configuration of SSD300 on COCO and the documentation of each transform: decode,
expand, crop by minimal IoU, resize, flip, photometric distortion, pack. No step is slower than the
original: the overlap of a crop is computed in NumPy here, and in torch there.
"""

from typing import Any

import cv2
import numpy as np

from ssd_core.structures import Array

SIDE = 300
FILL = (124.0, 116.0, 104.0)
"""Red, green, blue of the canvas."""

_OVERLAPS = (1, 0.1, 0.3, 0.5, 0.7, 0.9, 0)
_ATTEMPTS = 50


def augment(
    image: bytes, boxes: Array, labels: Array, rng: np.random.Generator
) -> tuple[Array, Array, Array]:
    """Return one training sample, before the normalisation, which happens on the device.

    Args:
        image: content of a JPEG file.
        boxes: [G, 4] xyxy in its pixels.
        labels: [G].
        rng: source of all randomness.

    Returns:
        [3, 300, 300] blue, green, red 0..255; [G', 4] boxes in [0, 1]; [G'] labels.
    """
    pixels: Any = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR)
    if rng.random() < 0.5:
        pixels, boxes = expand(pixels, boxes, rng)
    pixels, boxes, labels = crop(pixels, boxes, labels, rng)
    boxes = boxes / np.array(pixels.shape[1::-1] * 2, np.float32)
    pixels = cv2.resize(pixels, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
    if rng.random() < 0.5:
        pixels = cv2.flip(pixels, 1)
        boxes = np.stack([1 - boxes[:, 2], boxes[:, 1], 1 - boxes[:, 0], boxes[:, 3]], axis=1)
    return np.ascontiguousarray(distort(pixels, rng).transpose(2, 0, 1)), boxes, labels


def expand(pixels: Array, boxes: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Place the image on a canvas of 1 to 4 times its size."""
    height, width = pixels.shape[:2]
    ratio = rng.uniform(1, 4)
    canvas = np.full((int(height * ratio), int(width * ratio), 3), FILL[::-1], np.uint8)
    top, left = int(rng.uniform(0, (ratio - 1) * height)), int(rng.uniform(0, (ratio - 1) * width))
    canvas[top : top + height, left : left + width] = pixels
    return canvas, boxes + np.array([left, top] * 2, np.float32)


def crop(
    pixels: Array, boxes: Array, labels: Array, rng: np.random.Generator
) -> tuple[Array, Array, Array]:
    """Cut a patch that every box overlaps enough; drop boxes whose centre is outside."""
    height, width = pixels.shape[:2]
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2
    while True:
        overlap = _OVERLAPS[rng.integers(len(_OVERLAPS))]
        if overlap == 1:
            return pixels, boxes, labels
        for _ in range(_ATTEMPTS):
            new_width, new_height = (
                rng.uniform(0.3 * width, width),
                rng.uniform(0.3 * height, height),
            )
            if not 0.5 <= new_height / new_width <= 2:
                continue
            left, top = rng.uniform(0, width - new_width), rng.uniform(0, height - new_height)
            patch = np.array([left, top, left + new_width, top + new_height]).astype(int)
            if (patch[2:] == patch[:2]).any():
                continue
            is_inside = ((centers > patch[:2]) & (centers < patch[2:])).all(axis=1)
            if len(boxes) and (
                measure_overlaps(patch, boxes).min() < overlap or not is_inside.any()
            ):
                continue
            x0, y0, x1, y1 = patch
            corners = np.clip(boxes[is_inside].reshape(-1, 2, 2), patch[:2], patch[2:]) - patch[:2]
            return pixels[y0:y1, x0:x1], corners.reshape(-1, 4), labels[is_inside]


def measure_overlaps(patch: Array, boxes: Array) -> Array:
    """Return the IoU of a patch with each box."""
    sides = np.minimum(boxes[:, 2:], patch[2:]) - np.maximum(boxes[:, :2], patch[:2])
    shared = np.clip(sides, 0, None).prod(axis=1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    overlaps: Array = shared / (areas + (patch[2:] - patch[:2]).prod() - shared)
    return overlaps


def distort(pixels: Array, rng: np.random.Generator) -> Array:
    """Change brightness, contrast, saturation, hue and the order of the channels."""
    changed: Array = pixels.astype(np.float32)
    contrast = rng.uniform(0.5, 1.5) if rng.integers(2) else 1.0
    is_contrast_first = rng.integers(2)
    if rng.integers(2):
        changed += rng.uniform(-32, 32)
    if is_contrast_first:
        changed *= contrast
    hsv = cv2.cvtColor(changed, cv2.COLOR_BGR2HSV)
    if rng.integers(2):
        hsv[..., 1] = np.minimum(hsv[..., 1] * rng.uniform(0.5, 1.5), 1)
    if rng.integers(2):
        hsv[..., 0] += rng.uniform(-18, 18)
        hsv[..., 0][hsv[..., 0] > 360] -= 360
        hsv[..., 0][hsv[..., 0] < 0] += 360
    changed = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)
    if not is_contrast_first:
        changed *= contrast
    return changed[..., rng.permutation(3)] if rng.integers(2) else changed
