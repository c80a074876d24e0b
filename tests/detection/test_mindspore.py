"""What MindSpore's SSD computes in NumPy, from its description; boxes are y before x there."""

import math
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pytest

from ssd_core.detection.anchors import generate_anchors
from ssd_core.detection.boxes import BoxCoder, to_xyxy
from ssd_core.detection.loss import DetectionLoss
from ssd_core.detection.matcher import match_anchors
from ssd_core.detection.postprocess import select_detections
from ssd_core.recipes import load_recipe
from ssd_core.training.schedule import learning_rate

SWAPPED = [1, 0, 3, 2]
"""From y before x to x before y, and back."""
NUM_CLASSES = 4


class Original(NamedTuple):
    """The values of a configuration file that differ."""

    steps: tuple[int, ...]
    feature_size: tuple[int, ...]
    min_scale: float
    epochs: int


VGG16 = ((8, 16, 32, 64, 100, 300), (38, 19, 10, 5, 3, 1))
ORIGINALS = {
    "ssd300_mobilenet_v2": Original((16, 32, 64, 100, 150, 300), (19, 10, 5, 3, 2, 1), 0.2, 500),
    "ssd300_vgg16_mindspore": Original(*VGG16, 0.2, 150),
    "ssd300_vgg16_mindspore_gpu": Original(*VGG16, 0.1, 150),
}


@pytest.fixture(params=ORIGINALS)
def original(request):
    return ORIGINALS[request.param]


@pytest.fixture
def train(original):
    return load_recipe(next(name for name, each in ORIGINALS.items() if each == original)).train


def default_boxes(original):
    """All default boxes [A, 4]: centre y and x, height, width, as shares of the image."""
    growth = (0.95 - original.min_scale) / 5
    scales = [*(original.min_scale + growth * level for level in range(6)), 1.0]
    boxes = []
    for level, (scale, following) in enumerate(pairwise(scales)):
        sides = [(scale, scale)]
        for ratio in (2, 3):
            wide, tall = scale * math.sqrt(ratio), scale / math.sqrt(ratio)
            sides += [(wide, tall), (tall, wide)]
        sides.append((math.sqrt(scale * following),) * 2)
        if level == 0:
            sides = [(0.1, 0.1), *sides[1:3]]
        cells = 300 / original.steps[level]
        for row in range(original.feature_size[level]):
            for column in range(original.feature_size[level]):
                centre = (row + 0.5) / cells, (column + 0.5) / cells
                boxes += [(*centre, height, width) for width, height in sides]
    return np.array(boxes, np.float32)


def corners_of(boxes):
    return np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], 1)


def encode(objects, anchors):
    """Targets of an image: offsets [A, 4], labels [A], and the number of positives.

    `objects` are rows of y0, x0, y1, x1, label. The scores of the anchors are raised by one object
    after the other; the best anchor of an object has score 2, which no later object exceeds.
    """
    corners = corners_of(anchors)
    best, labels = np.zeros(len(anchors), np.float32), np.zeros(len(anchors), np.int64)
    boxes = np.zeros((len(anchors), 4), np.float32)
    for *box, label in objects:
        sides = np.minimum(corners[:, 2:], box[2:]) - np.maximum(corners[:, :2], box[:2])
        shared = np.maximum(sides, 0).prod(axis=1)
        area = (box[2] - box[0]) * (box[3] - box[1])
        scores = shared / ((corners[:, 2:] - corners[:, :2]).prod(axis=1) + area - shared)
        scores[scores.argmax()] = 2
        takes = (scores > 0.5) & (scores > best)
        best, labels = np.maximum(best, scores * takes), np.where(takes, int(label), labels)
        boxes[takes] = box
    centres, sizes = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    ratios = np.maximum(sizes / anchors[:, 2:], 1e-6)
    offsets = np.concatenate(
        [(centres - anchors[:, :2]) / (anchors[:, 2:] * 0.1), np.log(ratios) / 0.2], axis=1
    )
    offsets[labels == 0] = 0
    return offsets, labels, int((labels > 0).sum())


def loss_of(logits, offsets, targets, labels, num_positives):
    """Focal loss of all columns, with alpha 0.75 and gamma 2, and smooth L1, of a batch."""
    wanted = np.eye(logits.shape[-1])[labels]
    probability = 1 / (1 + np.exp(-logits))
    entropy = np.maximum(logits, 0) - logits * wanted + np.log1p(np.exp(-abs(logits)))
    correct = wanted * probability + (1 - wanted) * (1 - probability)
    focal = (1 - correct) ** 2 * (wanted * 0.75 + (1 - wanted) * 0.25) * entropy
    errors = abs(offsets - targets)
    smooth = np.where(errors < 1, errors**2 / 2, errors - 0.5) * (labels > 0)[..., None]
    return (focal.sum() + smooth.sum()) / num_positives


def detect(offsets, scores, anchors, height, width):
    """Detections of an image: rows of label, score, y0, x0, y1, x1 in pixels."""
    centres = offsets[:, :2] * 0.1 * anchors[:, 2:] + anchors[:, :2]
    sizes = np.exp(offsets[:, 2:] * 0.2) * anchors[:, 2:]
    boxes = np.clip(corners_of(np.concatenate([centres, sizes], axis=1)), 0, 1)
    found = []
    for label in range(1, scores.shape[1]):
        rows = np.flatnonzero(scores[:, label] > 0.1)
        rows = rows[np.argsort(-scores[rows, label])]
        pixels, kept = boxes[rows] * [height, width, height, width], []
        for index, (y0, x0, y1, x1) in enumerate(pixels):
            others = pixels[kept]
            high = np.minimum(y1, others[:, 2]) - np.maximum(y0, others[:, 0]) + 1
            wide = np.minimum(x1, others[:, 3]) - np.maximum(x0, others[:, 1]) + 1
            shared = np.maximum(high, 0) * np.maximum(wide, 0)
            areas = (others[:, 2:] - others[:, :2] + 1).prod(axis=1)
            union = areas + (y1 - y0 + 1) * (x1 - x0 + 1) - shared
            if len(kept) < 100 and (shared / union <= 0.6).all():
                kept.append(index)
        found += [(label, scores[rows[index], label], *pixels[index]) for index in kept]
    return np.array(found)


def rates_of(original, steps_per_epoch, first_epoch=0):
    """The learning rate of every step that is left after `first_epoch` epochs."""
    total, warmup = original.epochs * steps_per_epoch, 2 * steps_per_epoch
    peak, first, last = 0.2, 0.001, 0.2 * 0.001
    rates = [first + (peak - first) * step / warmup for step in range(warmup)]
    for step in range(warmup, total):
        share = (step - warmup) / (total - warmup)
        rates.append(last + (peak - last) * (1 + math.cos(math.pi * share)) / 2)
    return rates[first_epoch * steps_per_epoch :]


def random_objects(rng, count):
    """Rows of y0, x0, y1, x1, label; two of them are the same, and one is tiny."""
    low = rng.random((count, 2)) * 0.8
    sides = 0.02 + rng.random((count, 2)) ** 2 * 0.7
    labels = rng.integers(1, NUM_CLASSES + 1, (count, 1))
    objects = np.concatenate([low, np.minimum(low + sides, 1), labels], axis=1)
    tiny = [[0.5, 0.5, 0.501, 0.501, 1]]
    return np.concatenate([objects, objects[:1], tiny]).astype(np.float32)


def test_default_boxes(original, train):
    anchors = generate_anchors(train.model.anchors, 300)
    np.testing.assert_allclose(anchors[:, SWAPPED], default_boxes(original), atol=1e-6)


def test_targets_and_loss(original, train):
    rng = np.random.default_rng(0)
    anchors = generate_anchors(train.model.anchors, 300)
    images = [random_objects(rng, 12) for _ in range(2)]
    targets = [encode(objects, default_boxes(original)) for objects in images]
    boxes = np.stack([objects[:, [1, 0, 3, 2]] for objects in images])
    labels = np.stack([objects[:, 4].astype(np.int64) for objects in images])
    for image, (offsets, expected, count) in enumerate(targets):
        rows = match_anchors(to_xyxy(anchors), boxes[image], labels[image], train.matching)
        positive = rows >= 0
        assert positive.sum() == count
        np.testing.assert_array_equal(np.where(positive, labels[image][rows], 0), expected)
        coded = BoxCoder(train.model.variances).encode(
            boxes[image][rows[positive]], anchors[positive]
        )
        np.testing.assert_allclose(coded[:, SWAPPED], offsets[positive], atol=1e-5, rtol=1e-5)
    logits = rng.normal(size=(2, len(anchors), NUM_CLASSES + 1)) * 2
    found = rng.normal(size=(2, len(anchors), 4)) * 2
    loss = DetectionLoss(
        anchors_cxcywh=anchors,
        variances=train.model.variances,
        matching=train.matching,
        classification=train.classification_loss,
        divisor=train.loss_divisor,
    ).compute(logits, found[..., SWAPPED], boxes, labels)
    stacked = [np.stack(parts) for parts in zip(*targets, strict=True)]
    expected = loss_of(logits, found, *stacked[:2], stacked[2].sum())
    assert loss.loss_cls + loss.loss_bbox == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("size", [(640, 480), (40, 30)], ids=["photograph", "a pixel matters"])
def test_detections(original, train, size):
    rng = np.random.default_rng(1)
    anchors = default_boxes(original)
    offsets = rng.normal(size=(len(anchors), 4)).astype(np.float32)
    logits = (rng.normal(size=(len(anchors), NUM_CLASSES + 1)) - 3).astype(np.float32)
    logits[:, 2] += 2.5  # more than the limit of a class
    expected = detect(offsets, 1 / (1 + np.exp(-logits)), anchors, size[1], size[0])
    found = select_detections(
        logits,
        offsets[:, SWAPPED],
        generate_anchors(train.model.anchors, 300),
        coder=BoxCoder(train.model.variances),
        spec=train.model.postprocess,
        size=size,
    )
    rows = np.column_stack([found.labels, found.scores, found.boxes[:, SWAPPED]])
    order = np.lexsort((-rows[:, 1], rows[:, 0]))
    assert (found.labels == 2).sum() == 100
    np.testing.assert_allclose(rows[order], expected, atol=1e-3)


@pytest.mark.parametrize("first_epoch", [0, 1, 100])
def test_learning_rates(original, train, first_epoch):
    steps_per_epoch = 7
    expected = rates_of(original, steps_per_epoch, first_epoch)
    total, done = original.epochs * steps_per_epoch, first_epoch * steps_per_epoch
    peak = train.optimizer.learning_rate
    found = [learning_rate(step, total, peak, train.schedule) for step in range(done, total)]
    np.testing.assert_allclose(found, expected, atol=1e-9)
