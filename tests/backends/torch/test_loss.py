"""The loss on the device: the number of its launches, and values that are not numbers."""

import numpy as np
import pytest
import torch

from ssd_core.backends.torch.loss import TorchLoss
from ssd_core.config import FocalLossSpec, MatchingSpec, SoftmaxLossSpec
from ssd_core.detection.anchors import generate_anchors
from ssd_core.recipes import load_recipe
from tests.backends.torch.aten_calls import READ_BY_THE_HOST, AtenCalls

MODEL = load_recipe("ssd300_vgg16").train.model
ANCHORS = generate_anchors(MODEL.anchors, MODEL.image_size)


def build_loss(classification, divisor="batch"):
    return TorchLoss(
        ANCHORS,
        variances=(0.1, 0.2),
        matching=MatchingSpec(),
        classification=classification,
        divisor=divisor,
        device=torch.device("cpu"),
    )


def random_targets(num_images):
    rng = np.random.default_rng(0)
    low, sides = rng.random((2, num_images, 8, 2), np.float32) / 2
    labels = rng.integers(0, 4, (num_images, 8))
    return torch.from_numpy(np.concatenate([low, low + sides], axis=2)), torch.from_numpy(labels)


def record_calls(loss, num_images):
    """Aten calls of matching and loss, forward and backward, of one batch."""
    boxes, labels = random_targets(num_images)
    logits = torch.randn(num_images, len(ANCHORS), 4, requires_grad=True)
    offsets = torch.randn(num_images, len(ANCHORS), 4, requires_grad=True)
    with AtenCalls() as calls:
        targets = loss.assign(boxes, labels)
        cls, bbox = loss(logits, offsets, targets)
        ((cls + bbox) / targets.counts[0].clamp(min=1)).backward()
    return calls.names


@pytest.mark.parametrize(
    ("loss", "most"),
    [(build_loss(SoftmaxLossSpec()), 100), (build_loss(FocalLossSpec(), divisor="image"), 126)],
    ids=["softmax", "focal, by image"],
)
def test_launches_are_few_whatever_the_batch_and_nothing_synchronises(loss, most):
    recorded = {num_images: record_calls(loss, num_images) for num_images in (2, 8, 64)}
    assert recorded[2] == recorded[8] == recorded[64]
    assert len(recorded[2]) <= most
    assert not READ_BY_THE_HOST & set(recorded[2])


@pytest.mark.parametrize("classification", [SoftmaxLossSpec(), FocalLossSpec()])
def test_a_logit_that_is_not_a_number_makes_the_loss_not_a_number(classification):
    boxes, labels = random_targets(1)
    logits = torch.zeros(1, len(ANCHORS), 4)
    logits[0, 7] = float("nan")
    loss = build_loss(classification)
    cls, _ = loss(logits, torch.zeros(1, len(ANCHORS), 4), loss.assign(boxes, labels))
    assert cls.isnan()
