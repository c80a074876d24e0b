"""One rank of several: normalise a part of a batch and print the results as JSON.

Usage: norm_ranks.py, with the environment that torchrun sets.
"""

import json
import sys
import time

import torch

from ssd_core.backends.ranks import read_rank_env
from ssd_core.backends.torch.distributed import TorchRanks, join
from ssd_core.backends.torch.gradients import Gradients
from ssd_core.backends.torch.norms import BatchNorm, share_statistics
from ssd_core.config import NormSpec

SHAPE = (8, 5, 3, 4)


def make_batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Return features and the gradient of a loss by the result, in double precision."""
    generator = torch.Generator().manual_seed(3)
    options = {"generator": generator, "dtype": torch.float64}
    return 3 + 2 * torch.randn(SHAPE, **options), torch.randn(SHAPE, **options)


def run(norm: torch.nn.Module, rank: int, world_size: int) -> dict[str, object]:
    """Go through a norm and back with the rows of a rank."""
    features, gradient = (part.chunk(world_size)[rank].contiguous() for part in make_batch())
    features.requires_grad_()
    result = norm(features)
    result.backward(gradient)
    return {"result": result.tolist(), "gradient": features.grad.tolist()}


def make_norm() -> BatchNorm:
    norm = BatchNorm(SHAPE[1], NormSpec()).double()
    torch.nn.init.normal_(norm.scale, generator=torch.Generator().manual_seed(1))
    return norm


def sums_begin_early(ranks: TorchRanks) -> bool:
    """Hold the backward pass after its first layer until the ranks have summed its bucket."""
    first, last = make_norm(), make_norm()
    gradients = Gradients([*first.parameters(), *last.parameters()], ranks, bucket_bytes=1)
    gradients.clear(1)
    features, gradient = (part.chunk(ranks.world_size)[ranks.rank] for part in make_batch())
    own, deadline, seen = gradient.sum((0, 2, 3)), time.monotonic() + 60, []

    def hold(_: torch.Tensor) -> None:
        while torch.allclose(last.offset.grad, own) and time.monotonic() < deadline:
            time.sleep(0.01)
        seen.append(not torch.allclose(last.offset.grad, own))

    middle = first(features)
    middle.register_hook(hold)
    gradients.add((last(middle) * gradient).sum())
    gradients.sum()
    return seen == [True]


def main() -> None:
    env = read_rank_env()
    with join(env) as ranks:
        ranks.connect("cpu", "gloo")
        norm = make_norm()
        share_statistics(norm, ranks)
        gradients = Gradients(norm.parameters(), ranks, bucket_bytes=1)
        gradients.clear(1)
        found = run(norm, env.rank, env.world_size)
        gradients.sum()
        found |= {
            "weight": norm.scale.grad.tolist(),
            "bias": norm.offset.grad.tolist(),
            "mean": norm.mean.tolist(),
            "variance": norm.variance.tolist(),
            "shared": {
                name: array.tolist()
                for name, array in ranks.share(
                    {"a": norm.scale.detach().numpy() + env.rank}
                ).items()
            },
            "greatest": ranks.greatest(env.rank),
            "gathered": ranks.gather([env.rank]),
            "early": env.world_size > 1 and sums_begin_early(ranks),
            "of_first": ranks.on_first(lambda: {"rank": env.rank}),
        }
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
