"""The peer of MindSpore's input pipeline: the steps of its SSD300, in cv2 and NumPy.

Written from the description of that program: decode, random crop, resize, flip, matching and
encoding, colours, normalisation, channels first; all image by image, on the host. Its crop is
vectorised over the boxes only, as there; decoding and colours are compiled code in both.
"""

from functools import cache
from typing import Any

import cv2
import numpy as np

from ssd_core.detection.anchors import generate_anchors
from ssd_core.detection.boxes import to_xyxy
from ssd_core.recipes import load_recipe
from ssd_core.structures import Array

CONFIG = load_recipe("ssd300_mobilenet_v2").train
SIDE = CONFIG.model.image_size
MEAN, STD = (np.array(values, np.float32) for values in (CONFIG.model.mean, CONFIG.model.std))

_OVERLAPS = (None, 0.1, 0.3, 0.5, 0.7, 0.9)
_ATTEMPTS = 50
_MARGIN = 0.2
_COLOUR = 0.4
_CENTRE_SCALE, _SIZE_SCALE = 0.1, 0.2


def augment(
    image: bytes, boxes: Array, labels: Array, rng: np.random.Generator
) -> tuple[Array, Array, Array]:
    """Return one training sample.

    Args:
        image: content of a JPEG file.
        boxes: [G, 4] xyxy in its pixels.
        labels: [G].
        rng: source of all randomness.

    Returns:
        [3, 300, 300] normalised red, green, blue; [G', 4] boxes in [0, 1]; the targets of the
        anchors, as `encode` returns them, in one array [A, 5].
    """
    pixels: Any = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR_RGB)
    pixels, boxes, labels = crop(pixels, boxes, labels, rng)
    height, width = pixels.shape[:2]
    pixels = cv2.resize(pixels, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
    boxes = boxes / np.array([width, height] * 2, np.float32)
    if rng.random() < 0.5:
        pixels = cv2.flip(pixels, 1)
        boxes = np.stack([1 - boxes[:, 2], boxes[:, 1], 1 - boxes[:, 0], boxes[:, 3]], axis=1)
    targets = np.column_stack(encode(boxes, labels))
    normalised = (change_colours(pixels, rng).astype(np.float32) - MEAN) / STD
    return np.ascontiguousarray(normalised.transpose(2, 0, 1)), boxes, targets


def crop(
    pixels: Array, boxes: Array, labels: Array, rng: np.random.Generator
) -> tuple[Array, Array, Array]:
    """Cut a patch, unless 50 attempts fail; drop boxes whose centre is outside."""
    height, width = pixels.shape[:2]
    least = _OVERLAPS[rng.integers(len(_OVERLAPS))]
    if least is None:
        return pixels, boxes, labels
    for _ in range(_ATTEMPTS):
        new_width, new_height = rng.uniform(0.3, 1) * width, rng.uniform(0.3, 1) * height
        if not 0.5 <= new_height / new_width <= 2:
            continue
        left, top = rng.random() * (width - new_width), rng.random() * (height - new_height)
        patch = np.array([left, top, left + new_width, top + new_height]).astype(int)
        overlaps = measure_overlaps(boxes, patch[None])[:, 0]
        touched = overlaps[overlaps > 0]
        if not len(touched) or (touched.min() < least and touched.max() > least + _MARGIN):
            continue
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2
        is_kept = ((centres > patch[:2]) & (centres < patch[2:])).all(axis=1) & (overlaps > 0)
        if not is_kept.any():
            continue
        x0, y0, x1, y1 = patch
        corners = np.clip(boxes[is_kept].reshape(-1, 2, 2), patch[:2], patch[2:]) - patch[:2]
        return pixels[y0:y1, x0:x1], corners.reshape(-1, 4).astype(np.float32), labels[is_kept]
    return pixels, boxes, labels


def encode(boxes: Array, labels: Array) -> tuple[Array, Array]:
    """Return [A, 4] offsets (centre x, y, width, height) and [A] labels, 0 for the background.

    Object by object, an anchor takes one that it overlaps more than all earlier ones, by more than
    one half; the best anchor of an object counts as an overlap of 2.
    """
    anchors, corners = _anchors()
    scores = np.zeros(len(anchors), np.float32)
    targets, offsets = np.zeros(len(anchors), np.int64), np.zeros((len(anchors), 4), np.float32)
    taken = np.zeros((len(anchors), 4), np.float32)
    for box, label in zip(boxes, labels, strict=True):
        overlaps = measure_overlaps(box[None], corners)[0]
        overlaps[overlaps.argmax()] = 2
        improves = (overlaps > 0.5) & (overlaps > scores)
        scores[improves], targets[improves] = overlaps[improves], label
        taken[improves] = [*(box[:2] + box[2:]) / 2, *box[2:] - box[:2]]
    rows = np.flatnonzero(targets)
    own = anchors[rows]
    offsets[rows, :2] = (taken[rows, :2] - own[:, :2]) / (own[:, 2:] * _CENTRE_SCALE)
    offsets[rows, 2:] = np.log(np.maximum(taken[rows, 2:] / own[:, 2:], 1e-6)) / _SIZE_SCALE
    return offsets, targets


def measure_overlaps(boxes: Array, others: Array) -> Array:
    """Return [N, M] IoU of [N, 4] and [M, 4] boxes."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    areas, other_areas = ((each[:, 2:] - each[:, :2]).prod(axis=1) for each in (boxes, others))
    overlaps: Array = shared / (areas[:, None] + other_areas - shared)
    return overlaps


def change_colours(pixels: Array, rng: np.random.Generator) -> Array:
    """Change brightness, contrast and saturation by factors from 0.6 to 1.4."""
    brightness, contrast, saturation = rng.uniform(1 - _COLOUR, 1 + _COLOUR, 3).tolist()
    changed = cv2.convertScaleAbs(pixels, alpha=brightness)
    mean = cv2.mean(cv2.cvtColor(changed, cv2.COLOR_RGB2GRAY))[0]
    changed = cv2.convertScaleAbs(changed, alpha=contrast, beta=(1 - contrast) * mean)
    grey = cv2.cvtColor(cv2.cvtColor(changed, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    blended: Array = cv2.addWeighted(changed, saturation, grey, 1 - saturation, 0)
    return blended


def to_levels(pixels: Array) -> Array:
    """Return [..., 3, S, S] normalised pixels as levels 0..255."""
    levels: Array = pixels * STD[:, None, None] + MEAN[:, None, None]
    return levels


@cache
def _anchors() -> tuple[Array, Array]:
    """Return the anchors as centre and size, and as corners."""
    anchors = generate_anchors(CONFIG.model.anchors, SIDE)
    return anchors, to_xyxy(anchors)
