"""One rank of several: normalise a part of a batch, exchange messages, print the results as JSON.

Usage: sum_ranks.py, with the environment that torchrun sets.
"""

import json
import sys

import mindspore as ms
import numpy as np
from mindspore import ParameterTuple, Tensor, nn

from ssd_core.backends.mindspore.collectives import sum_gradients
from ssd_core.backends.mindspore.devices import open_device
from ssd_core.backends.mindspore.distributed import join
from ssd_core.backends.mindspore.norms import BatchNorm, share_statistics
from ssd_core.backends.ranks import ALONE, Ranks, read_rank_env
from ssd_core.config import NormSpec

SHAPE = (8, 5, 3, 4)


def make_batch() -> tuple[np.ndarray, np.ndarray]:
    """Return features and the gradient of a loss by the result."""
    rng = np.random.default_rng(3)
    features = 3 + 2 * rng.standard_normal(SHAPE)
    return features.astype(np.float32), rng.standard_normal(SHAPE).astype(np.float32)


def run(ranks: Ranks) -> dict[str, object]:
    """Go through a norm and back with the rows of a rank."""
    norm = BatchNorm(SHAPE[1], NormSpec())
    norm.scale.set_data(Tensor(np.linspace(0.5, 2, SHAPE[1]).astype(np.float32)))
    norm.set_train()
    share_statistics(norm, ranks)
    step = _Step(norm, ranks)
    features, gradient = (np.split(part, ranks.world_size)[ranks.rank] for part in make_batch())
    result, by_features, *by_weights = step(Tensor(features), Tensor(gradient))
    named = {
        "result": result,
        "gradient": by_features,
        "by_scale": by_weights[0],
        "by_offset": by_weights[1],
        "mean": norm.mean,
        "variance": norm.variance,
    }
    return {name: each.asnumpy().tolist() for name, each in named.items()}


class _Step(nn.Cell):
    def __init__(self, norm: BatchNorm, ranks: Ranks) -> None:
        super().__init__()
        self.norm = norm
        self.sum_gradients = sum_gradients(2, [0], ranks)
        weights = ParameterTuple([norm.scale, norm.offset])
        self._differentiate = ms.value_and_grad(self._forward, 0, weights, has_aux=True)

    def construct(self, features: Tensor, gradient: Tensor) -> tuple[Tensor, ...]:
        (_, result), (by_features, by_weights) = self._differentiate(features, gradient)
        return result, by_features, *self.sum_gradients(by_weights)

    def _forward(self, features: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
        result = self.norm(features)
        return (result * gradient).sum(), result


def main() -> None:
    env = read_rank_env()
    with join(env) as ranks:
        device = open_device("cpu", env)
        ranks.connect("cpu", device.collectives)
        found = run(ranks)
        found |= {
            "shared": ranks.share({"a": np.arange(6.0).reshape(2, 3) + env.rank})["a"].tolist(),
            "greatest": ranks.greatest(env.rank),
            "gathered": ranks.gather([env.rank]),
            "of_first": ranks.on_first(lambda: {"rank": env.rank}),
            "messages": [each.attrs["fusion"] for each in sum_gradients(5, [1, 3], ranks).sums],
            "sum": ranks.sum(Tensor(1.0 + env.rank)).asnumpy().tolist(),
        }
    json.dump(found, sys.stdout)


def main_alone() -> None:
    open_device("cpu")
    json.dump(run(ALONE), sys.stdout)


if __name__ == "__main__":
    main_alone() if read_rank_env().world_size == 1 else main()
