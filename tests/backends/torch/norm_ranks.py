"""One rank of several: normalise a part of a batch and print the results as JSON.

Usage: norm_ranks.py, with the environment that torchrun sets.
"""

import json
import sys

import torch

from ssd_core.backends.ranks import read_rank_env
from ssd_core.backends.torch.distributed import join
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


def main() -> None:
    env = read_rank_env()
    with join(env) as ranks:
        ranks.connect("cpu", "gloo")
        norm = make_norm()
        share_statistics(norm, ranks)
        gradients = Gradients(norm.parameters(), ranks)
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
            "of_first": ranks.on_first(lambda: {"rank": env.rank}),
        }
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
