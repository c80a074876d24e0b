"""SSD's augmentation step by step: one image, one attempt, one box at a time, on real pixels.

Written from the descriptions of the systems, not from our code, and with other random numbers: a
canvas is painted, a crop is cut out of it, colours are changed in float32 and rounded after each
step. Slow; only a reference for tests.
"""

import random
from functools import partial

import cv2
import numpy as np

Box = list[float]


def has_centre(crop, box: Box) -> bool:
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    return crop[0] < x < crop[2] and crop[1] < y < crop[3]


def overlap(crop, box: Box) -> float:
    width = max(0.0, min(crop[2], box[2]) - max(crop[0], box[0]))
    height = max(0.0, min(crop[3], box[3]) - max(crop[1], box[1]))
    areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (crop, box)]
    return width * height / (sum(areas) - width * height)


# --- acceptance of crops


def mmdetection_accepts(crop, boxes: list[Box], min_iou: float) -> bool:
    """Every box must overlap enough, and one must be kept."""
    if boxes and min(overlap(crop, box) for box in boxes) < min_iou:
        return False
    return not boxes or any(has_centre(crop, box) for box in boxes)


def torchvision_accepts(crop, boxes: list[Box], min_iou: float) -> bool:
    """One of the kept boxes must overlap enough."""
    kept = [box for box in boxes if has_centre(crop, box)]
    return bool(kept) and max(overlap(crop, box) for box in kept) >= min_iou


def mindspore_accepts(crop, boxes: list[Box], min_iou: float) -> bool:
    """Reject a crop that overlaps one box too little while another far exceeds the limit."""
    touched = [overlap(crop, box) for box in boxes if overlap(crop, box) > 0]
    if not touched:
        return False
    if min(touched) < min_iou and max(touched) > min_iou + 0.2:
        return False
    return any(has_centre(crop, box) and overlap(crop, box) > 0 for box in boxes)


# --- drawing of crops: each returns the crop and the boxes that stay


def crop_until_accepted(size, boxes: list[Box], min_ious, rng: random.Random, draw, accepts):
    """Draw an overlap, then crops of `draw`, a generator of all attempts, until one is accepted."""
    width, height = size
    while True:
        min_iou = rng.choice([None, *min_ious])
        if min_iou is None:
            return (0, 0, width, height), boxes
        for crop in draw(width, height, rng):
            if crop[2] > crop[0] and crop[3] > crop[1] and accepts(crop, boxes, min_iou):
                return crop, [box for box in boxes if has_centre(crop, box)]


def attempts_of_mmdetection(width, height, rng: random.Random):
    for _ in range(50):
        w, h = rng.uniform(0.3 * width, width), rng.uniform(0.3 * height, height)
        if 0.5 <= h / w <= 2:
            left, top = rng.uniform(0, width - w), rng.uniform(0, height - h)
            yield int(left), int(top), int(left + w), int(top + h)


def attempts_of_torchvision(width, height, rng: random.Random):
    for _ in range(40):
        w, h = (int(side * rng.uniform(0.3, 1)) for side in (width, height))
        if h and 0.5 <= w / h <= 2:
            left, top = int((width - w) * rng.random()), int((height - h) * rng.random())
            yield left, top, left + w, top + h


def crop_mindspore(size, boxes: list[Box], min_ious, rng: random.Random):
    width, height = size
    min_iou = rng.choice([None, *min_ious])
    if min_iou is None:
        return (0, 0, width, height), boxes
    for _ in range(50):
        crop_width, crop_height = rng.uniform(0.3, 1) * width, rng.uniform(0.3, 1) * height
        if crop_height / crop_width < 0.5 or crop_height / crop_width > 2:
            continue
        left, top = rng.random() * (width - crop_width), rng.random() * (height - crop_height)
        crop = int(left), int(top), int(left + crop_width), int(top + crop_height)
        if mindspore_accepts(crop, boxes, min_iou):
            return crop, [box for box in boxes if has_centre(crop, box) and overlap(crop, box) > 0]
    return (0, 0, width, height), boxes


ACCEPTS = {
    "mmdetection": mmdetection_accepts,
    "torchvision": torchvision_accepts,
    "mindspore": mindspore_accepts,
}
CROPS = {
    "mmdetection": partial(
        crop_until_accepted, draw=attempts_of_mmdetection, accepts=mmdetection_accepts
    ),
    "torchvision": partial(
        crop_until_accepted, draw=attempts_of_torchvision, accepts=torchvision_accepts
    ),
    "mindspore": crop_mindspore,
}


# --- the whole augmentation, in the order of mmdetection 3.x


def zoom_out(pixels, boxes: list[Box], fill, rng: random.Random):
    """With probability 0.5, place the image on a canvas up to four times as wide and high."""
    if rng.random() < 0.5:
        return pixels, boxes
    height, width = pixels.shape[:2]
    ratio = rng.uniform(1, 4)
    canvas = np.empty((int(height * ratio), int(width * ratio), 3), np.uint8)
    canvas[:] = np.rint(fill)
    left, top = (
        int(rng.uniform(0, width * ratio - width)),
        int(rng.uniform(0, height * ratio - height)),
    )
    canvas[top : top + height, left : left + width] = pixels
    return canvas, [[x0 + left, y0 + top, x1 + left, y1 + top] for x0, y0, x1, y1 in boxes]


def distort(pixels, rng: random.Random):
    """Change colours; contrast comes randomly before or after saturation and hue."""
    image = pixels.astype(np.float32)

    def rounded(values):
        return np.clip(np.rint(values), 0, 255).astype(np.float32)

    if rng.random() < 0.5:
        image = rounded(image + rng.uniform(-32, 32))
    is_contrast_first = rng.random() < 0.5
    if is_contrast_first and rng.random() < 0.5:
        image = rounded(image * rng.uniform(0.5, 1.5))
    hsv = cv2.cvtColor(image / 255, cv2.COLOR_RGB2HSV)
    if rng.random() < 0.5:
        hsv[..., 1] = np.clip(hsv[..., 1] * rng.uniform(0.5, 1.5), 0, 1)
    if rng.random() < 0.5:
        hsv[..., 0] = (hsv[..., 0] + rng.uniform(-18, 18)) % 360
    image = rounded(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB) * 255)
    if not is_contrast_first and rng.random() < 0.5:
        image = rounded(image * rng.uniform(0.5, 1.5))
    if rng.random() < 0.5:
        image = image[..., rng.sample(range(3), 3)]
    return image.astype(np.uint8)


def augment(pixels, boxes: list[Box], *, rule: str, min_ious, fill, size: int, rng: random.Random):
    """Return an image of `size` and its boxes in [0, 1]: zoom-out, crop, resize, flip, colours."""
    pixels, boxes = zoom_out(pixels, boxes, fill, rng)
    (x0, y0, x1, y1), boxes = CROPS[rule](pixels.shape[1::-1], boxes, min_ious, rng)
    scaled = cv2.resize(pixels[y0:y1, x0:x1], (size, size), interpolation=cv2.INTER_LINEAR)
    placed = np.array(boxes, float).reshape(-1, 4) - [x0, y0, x0, y0]
    placed = np.clip(placed / [x1 - x0, y1 - y0, x1 - x0, y1 - y0], 0, 1)
    if rng.random() < 0.5:
        scaled = scaled[:, ::-1]
        placed[:, [0, 2]] = 1 - placed[:, [2, 0]]
    return distort(np.ascontiguousarray(scaled), rng), placed
