"""A training step of `train.virtual_shards=4` in one process; the peer is the same step without.

The peer shares each operation between all processors, ours the parts of the batch. On a busy
machine set OMP_WAIT_POLICY=passive, else the peer's threads wait for each other in loops.
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch

from benchmarks.interleaved import compare
from benchmarks.script import Measurement, Size, main, ratio
from ssd_core.backends.torch.backend import TorchBackend
from ssd_core.recipes import load_recipe
from ssd_core.structures import Batch

_NUM_CLASSES = 20

_Step = Callable[[], dict[str, float]]


def measure(size: Size) -> Iterator[Measurement]:
    """Yield a row for each network, with batches of 8 random images."""
    processors = torch.get_num_threads()
    for recipe in ("demo", "ssd300_vgg16"):
        comparison = compare(
            _prepare(recipe, 1, num_shards=4),
            _prepare(recipe, processors),
            check=_check,
            rounds=size.rounds,
        )
        yield ratio(f"shards-{recipe}", comparison)


def _prepare(recipe: str, threads: int, num_shards: int | None = None) -> _Step:
    """Return a step that leaves the weights as they are."""
    changes = {"batch_size": 8, "virtual_shards": num_shards}
    config = load_recipe(recipe).train.model_copy(update=changes)
    learner = TorchBackend("cpu", "fp32").learner(config, _NUM_CLASSES)
    batch = _make_batch(config.batch_size, config.model.image_size)

    def step() -> dict[str, float]:
        torch.set_num_threads(threads)
        return learner.step(batch, 0.0)()

    return step


def _make_batch(count: int, side: int) -> Batch:
    rng = np.random.default_rng(0)
    low, size = rng.uniform(0, 0.6, (count, 8, 2)), rng.uniform(0.1, 0.4, (count, 8, 2))
    return Batch(
        images=rng.integers(0, 256, (count, side, side, 3), np.uint8),
        boxes=np.concatenate([low, low + size], axis=-1).astype(np.float32),
        labels=rng.integers(1, _NUM_CLASSES + 1, (count, 8)),
    )


def _check(ours: dict[str, float], peer: dict[str, float]) -> None:
    for name, value in peer.items():
        assert abs(ours[name] - value) <= 1e-3 * abs(value), name


if __name__ == "__main__":
    main(measure)
