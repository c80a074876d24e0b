"""The gradients of all parameters, summed over the ranks."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from ssd_core.backends.ranks import Ranks


class Gradients:
    """The gradients of all parameters.

    With several ranks they are views of one array, so that a single sum makes them global.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], ranks: Ranks) -> None:
        self._parameters, self._ranks = list(parameters), ranks
        self._all: Tensor | None = None
        if ranks.world_size > 1:
            self._all, views = join_gradients(self._parameters)
            for parameter, view in zip(self._parameters, views, strict=True):
                parameter.grad = view

    def clear(self) -> None:
        """Prepare for the next step."""
        if self._all is not None:
            self._all.zero_()
            return
        for parameter in self._parameters:
            parameter.grad = None  # written by the backward pass, which is faster than added to

    def add(self, loss: Tensor) -> None:
        """Add the gradients of a loss."""
        loss.backward()  # type: ignore[no-untyped-call]

    def sum(self) -> None:
        """Add the gradients of the other ranks."""
        if self._all is not None:
            self._ranks.sum(self._all)


def join_gradients(parameters: Sequence[nn.Parameter]) -> tuple[Tensor, list[Tensor]]:
    """Return an array of zeros, and its views in the shapes of the parameters."""
    joined = torch.zeros_like(torch.cat([parameter.detach().flatten() for parameter in parameters]))
    parts = torch.split(joined, [parameter.numel() for parameter in parameters])
    # In the memory format of the parameter, as fused optimizers expect it.
    views = [
        part.as_strided(parameter.shape, parameter.stride())
        for parameter, part in zip(parameters, parts, strict=True)
    ]
    return joined, views
