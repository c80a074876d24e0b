"""Calls of aten by matching, losses and gradients: on an accelerator each is a launch.

The peer is torchvision; both compute the losses of the same 64 images with eight objects each.
Options have no effect, because each run gives the same numbers.
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch
import torchvision
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.models.detection import ssd300_vgg16

from benchmarks.script import Measurement, Size, main
from ssd_core.backends.torch.loss import TorchLoss
from ssd_core.detection.anchors import generate_anchors
from ssd_core.detection.boxes import to_xyxy
from ssd_core.recipes import load_recipe

_BATCH, _OBJECTS, _COLUMNS = 64, 8, 4
_CONFIG = load_recipe("ssd300_vgg16").train
_ANCHORS = generate_anchors(_CONFIG.model.anchors, _CONFIG.model.image_size)

Losses = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""From logits [B, A, K + 1] and offsets [B, A, 4] to the losses of classes and boxes."""


class CallCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the calls of aten."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN204, D102
        self.count += 1
        return function(*args, **(kwargs or {}))


def measure(size: Size) -> Iterator[Measurement]:
    """Yield the row."""
    rng = np.random.default_rng(0)
    low, sides = rng.random((2, _BATCH, _OBJECTS, 2), np.float32) * 0.45
    boxes = torch.from_numpy(np.concatenate([low, low + sides + 0.1], axis=2))
    labels = torch.from_numpy(rng.integers(1, _COLUMNS, (_BATCH, _OBJECTS)))
    (ours, own_losses), (theirs, losses) = map(
        count_calls, (prepare_ours(boxes, labels), prepare_theirs(boxes, labels))
    )
    assert np.allclose(own_losses, losses, rtol=1e-3), (own_losses, losses)
    yield Measurement("launches", [ours], theirs=f"{theirs:,}")


def count_calls(losses: Losses) -> tuple[int, list[float]]:
    """Return the calls, forward and backward, and the losses."""
    torch.manual_seed(0)
    logits = torch.randn(_BATCH, len(_ANCHORS), _COLUMNS, requires_grad=True)
    offsets = torch.randn(_BATCH, len(_ANCHORS), 4, requires_grad=True)
    with CallCounter() as calls:
        cls, bbox = losses(logits, offsets)
        torch.autograd.backward(cls + bbox)
    return calls.count, [float(cls.detach()), float(bbox.detach())]


def prepare_ours(boxes: Tensor, labels: Tensor) -> Losses:
    """Return our losses."""
    loss = TorchLoss(
        _ANCHORS,
        variances=_CONFIG.model.variances,
        matching=_CONFIG.matching,
        classification=_CONFIG.classification_loss,
        divisor=_CONFIG.loss_divisor,
        device=torch.device("cpu"),
    )

    def losses(logits: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
        targets = loss.assign(boxes, labels)
        cls, bbox = loss(logits, offsets, targets)
        divisor = targets.counts[0].clamp(min=1)
        return cls / divisor, bbox / divisor

    return losses


def prepare_theirs(boxes: Tensor, labels: Tensor) -> Losses:
    """Return those of torchvision."""
    peer = ssd300_vgg16(weights=None, weights_backbone=None, num_classes=_COLUMNS)
    side = _CONFIG.model.image_size
    anchors = [torch.from_numpy(to_xyxy(_ANCHORS) * side)] * _BATCH
    targets = [
        {"boxes": own_boxes * side, "labels": own_labels}
        for own_boxes, own_labels in zip(boxes, labels, strict=True)
    ]

    def losses(logits: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
        matched = [
            peer.proposal_matcher(torchvision.ops.box_iou(target["boxes"], own_anchors))
            for target, own_anchors in zip(targets, anchors, strict=True)
        ]
        outputs = {"cls_logits": logits, "bbox_regression": offsets}
        found = peer.compute_loss(targets, outputs, anchors, matched)
        return found["classification"], found["bbox_regression"]

    return losses


if __name__ == "__main__":
    main(measure)
