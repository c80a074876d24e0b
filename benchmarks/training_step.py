"""A training step of SSD300-VGG16 on the processor, ours and torchvision's, with the same weights.

torchvision computes in fp32 with the memory format that it has; ours in fp32 and in the precision
that `auto` takes here. Eight images of noise with eight objects each; times are those of one
thread, which other load disturbs least.
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torchvision.models.detection import ssd300_vgg16

from benchmarks.interleaved import compare
from benchmarks.script import Measurement, Size, main, ratio
from ssd_core.backends.torch.backend import TorchBackend
from ssd_core.backends.weights import WEIGHTS
from ssd_core.layouts.torchvision import TORCHVISION
from ssd_core.recipes import load_recipe
from ssd_core.structures import Array, Batch

_BATCH, _OBJECTS, _NUM_CLASSES, _SIDE = 8, 8, 90, 300
_RATE = 1e-9  # the weights stay as they are, so that every step has the same loss


def measure(size: Size) -> Iterator[Measurement]:
    """Yield a row in fp32, and one in bf16 if the processor has instructions for it."""
    torch.manual_seed(0)
    peer = ssd300_vgg16(weights=None, weights_backbone=None, num_classes=_NUM_CLASSES + 1)
    batch = make_batch()
    theirs = prepare_theirs(peer, batch)
    for name, precision in list_precisions().items():
        ours = prepare_ours(peer, batch, precision)
        tolerance = 1e-3 if precision == "fp32" else 0.03

        def check(loss: float, expected: float) -> None:
            assert np.isclose(loss, expected, rtol=tolerance), (loss, expected)  # noqa: B023

        yield ratio(f"training-{name}", compare(ours, theirs, check=check, rounds=size.rounds))


def make_batch() -> Batch:
    """Return images of noise with objects of random sizes and places."""
    rng = np.random.default_rng(0)
    low, sides = rng.random((2, _BATCH, _OBJECTS, 2)) * [[[[0.6]]], [[[0.3]]]]
    return Batch(
        images=rng.integers(0, 256, (_BATCH, _SIDE, _SIDE, 3), dtype=np.uint8),
        boxes=np.concatenate([low, low + sides + 0.1], axis=-1).astype(np.float32),
        labels=rng.integers(1, _NUM_CLASSES + 1, (_BATCH, _OBJECTS)),
    )


def prepare_ours(peer: torch.nn.Module, batch: Batch, precision: str) -> Callable[[], float]:
    """Return a step of ours from the weights of torchvision's network; it returns the loss."""
    config = load_recipe("ssd300_vgg16").train
    model = config.model.model_copy(update=TORCHVISION["vgg16"].model)
    backend = TorchBackend("cpu", precision)
    torch.set_num_threads(1)
    learner = backend.learner(config.model_copy(update={"model": model}), _NUM_CLASSES)
    weights = {WEIGHTS + name: array for name, array in read_weights(peer).items()}
    learner.load_state(learner.state() | weights)
    return lambda: learner.step(batch, _RATE)()["loss"]


def read_weights(peer: torch.nn.Module) -> dict[str, Array]:
    """Return the weights of torchvision's network by our names."""
    found = peer.state_dict()
    return {
        ours + end: found[theirs + end].numpy()
        for ours, theirs in TORCHVISION["vgg16"].layers.items()
        for end in ((".weight", ".bias") if f"{theirs}.weight" in found else ("",))
    }


def list_precisions() -> dict[str, str]:
    """Return the precisions to measure by the end of the names of their rows."""
    precisions = {"fp32": "fp32"}
    if (precision := TorchBackend("cpu").info.precision) != "fp32":
        has_tiles = torch.cpu.get_capabilities().get("amx_bf16", False)
        precisions["amx" if has_tiles else precision] = precision
    return precisions


def prepare_theirs(peer: torch.nn.Module, batch: Batch) -> Callable[[], float]:
    """Return a step of torchvision's; it returns the loss."""
    parameters = [each for each in peer.parameters() if each.requires_grad]
    optimizer = torch.optim.SGD(parameters, lr=_RATE, momentum=0.9, weight_decay=5e-4)
    images = [torch.from_numpy(image).permute(2, 0, 1).float() / 255 for image in batch.images]
    targets = [
        {"boxes": torch.from_numpy(boxes * _SIDE), "labels": torch.from_numpy(labels)}
        for boxes, labels in zip(batch.boxes, batch.labels, strict=True)
    ]

    def step() -> float:
        optimizer.zero_grad()
        loss = sum(peer.train()(images, targets).values())
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return step


if __name__ == "__main__":
    main(measure)
