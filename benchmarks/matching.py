"""Targets of a batch: ours on the device for all images at once, the peer image by image in NumPy.

The peer is the encoding of MindSpore's SSD300, which runs in its input pipeline. The first row is
the same work; the second adds the losses and their gradients to ours, and nothing to the peer.
Times are those of one thread of a CPU, the only device here.
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch

from benchmarks import mindspore_chain
from benchmarks.images import make_images
from benchmarks.interleaved import compare
from benchmarks.script import Measurement, Size, main, ratio
from ssd_core.backends.torch.loss import TorchLoss
from ssd_core.config import ConvertConfig
from ssd_core.data.findings import Findings
from ssd_core.data.formats import read_dataset
from ssd_core.data.sources.folder import FolderSource
from ssd_core.detection.anchors import generate_anchors
from ssd_core.structures import Array

_BATCH = 32
_NUM_CLASSES = 80


def measure(size: Size) -> Iterator[Measurement]:
    """Yield both rows; the objects are those of the generated images."""
    torch.set_num_threads(1)  # as NumPy
    config = mindspore_chain.CONFIG
    anchors = generate_anchors(config.model.anchors, mindspore_chain.SIDE)
    loss = TorchLoss(
        anchors,
        variances=config.model.variances,
        matching=config.matching,
        classification=config.classification_loss,
        divisor=config.loss_divisor,
        device=torch.device("cpu"),
    )
    images = list(read_objects(size))
    boxes, labels = pad(images)
    logits = torch.zeros(_BATCH, len(anchors), _NUM_CLASSES + 1, requires_grad=True)
    offsets = torch.zeros(_BATCH, len(anchors), 4, requires_grad=True)

    def match() -> tuple[Array, Array]:
        targets = loss.assign(boxes, labels)
        found = torch.where(targets.positive[..., None], targets.offsets, 0)
        return found.numpy(), targets.classes.numpy()

    def train() -> None:
        cls, bbox = loss(logits, offsets, loss.assign(boxes, labels))
        torch.autograd.backward(cls + bbox)

    def encode() -> list[tuple[Array, Array]]:
        return [mindspore_chain.encode(*image) for image in images]

    works: dict[str, Callable[[], object]] = {"matching": match, "matching-losses": train}
    for name, ours in works.items():
        comparison = compare(
            ours, encode, check=lambda _, theirs: check(match(), theirs), rounds=size.rounds
        )
        yield ratio(name, comparison)


def read_objects(size: Size) -> Iterator[tuple[Array, Array]]:
    """Yield boxes in [0, 1] and labels of one batch."""
    source = FolderSource(make_images(size.work_dir, size.images))
    split = read_dataset(source, ConvertConfig(), Findings("strict")).splits["train"]
    for index in range(_BATCH):
        sample = split.sample(index)
        sides = np.array([sample.width, sample.height] * 2, np.float32)
        yield sample.annotations.boxes / sides, sample.annotations.labels


def pad(images: list[tuple[Array, Array]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return [B, M, 4] boxes and [B, M] labels, as the loader fills them."""
    most = max(len(labels) for _, labels in images)
    boxes, labels = torch.zeros(_BATCH, most, 4), torch.zeros(_BATCH, most, dtype=torch.int64)
    for row, (own_boxes, own_labels) in enumerate(images):
        boxes[row, : len(own_labels)] = torch.from_numpy(own_boxes)
        labels[row, : len(own_labels)] = torch.from_numpy(own_labels)
    return boxes, labels


def check(ours: tuple[Array, Array], peer: list[tuple[Array, Array]]) -> None:
    """Compare offsets and labels of all anchors."""
    offsets, targets = map(np.stack, zip(*peer, strict=True))
    assert (ours[1] == targets).all()
    assert np.allclose(ours[0], offsets, rtol=1e-4, atol=1e-4)


if __name__ == "__main__":
    main(measure)
