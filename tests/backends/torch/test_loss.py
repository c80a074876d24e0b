import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from ssd_core.backends.torch.loss import TorchLoss
from ssd_core.backends.torch.model import Ssd
from ssd_core.config import FocalLossSpec, MatchingSpec, SoftmaxLossSpec
from ssd_core.detection.anchors import generate_anchors
from ssd_core.recipes import load_recipe

MODEL = load_recipe("ssd300_vgg16").train.model
ANCHORS = generate_anchors(MODEL.anchors, MODEL.image_size)
SYNCHRONISATIONS = {"_local_scalar_dense", "nonzero"}


def build_loss(classification, divisor="batch"):
    return TorchLoss(
        ANCHORS,
        variances=(0.1, 0.2),
        matching=MatchingSpec(),
        classification=classification,
        divisor=divisor,
        device=torch.device("cpu"),
    )


class AtenCalls(TorchDispatchMode):
    """Records the name of every aten call: on an accelerator each is a launch."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.append(function.overloadpacket.__name__)
        return function(*args, **(kwargs or {}))


def random_targets(num_images):
    rng = np.random.default_rng(0)
    low, sides = rng.random((2, num_images, 8, 2), np.float32) / 2
    labels = rng.integers(0, 4, (num_images, 8))
    return torch.from_numpy(np.concatenate([low, low + sides], axis=2)), torch.from_numpy(labels)


def record_calls(loss, num_images):
    """Aten calls of normalisation, matching and loss, forward and backward, of one batch."""
    model = Ssd(MODEL, 3)
    boxes, labels = random_targets(num_images)
    logits = torch.randn(num_images, len(ANCHORS), 4, requires_grad=True)
    offsets = torch.randn(num_images, len(ANCHORS), 4, requires_grad=True)
    images = torch.zeros(num_images, 300, 300, 3, dtype=torch.uint8)
    with AtenCalls() as calls:
        model.normalize(images)
        sums = loss(logits, offsets, boxes, labels)
        ((sums.cls + sums.bbox) / sums.divisor.clamp(min=1)).backward()
    return calls.names


@pytest.mark.parametrize(
    "loss",
    [build_loss(SoftmaxLossSpec()), build_loss(FocalLossSpec(), divisor="image")],
    ids=["softmax", "focal, by image"],
)
def test_launches_are_few_whatever_the_batch_and_nothing_synchronises(loss):
    recorded = {num_images: record_calls(loss, num_images) for num_images in (2, 8, 64)}
    assert recorded[2] == recorded[8] == recorded[64]
    assert len(recorded[2]) <= 200
    assert not SYNCHRONISATIONS & set(recorded[2])


@pytest.mark.parametrize("classification", [SoftmaxLossSpec(), FocalLossSpec()])
def test_a_logit_that_is_not_a_number_makes_the_loss_not_a_number(classification):
    boxes, labels = random_targets(1)
    logits = torch.zeros(1, len(ANCHORS), 4)
    logits[0, 7] = float("nan")
    sums = build_loss(classification)(logits, torch.zeros(1, len(ANCHORS), 4), boxes, labels)
    assert sums.cls.isnan()
