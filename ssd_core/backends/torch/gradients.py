"""The gradients of all parameters, summed over the ranks."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn

from ssd_core.backends.ranks import Ranks

_BUCKET_BYTES = 25 * 2**20
"""Least size of a message, as in torch's DistributedDataParallel."""


class Gradients:
    """The gradients of all parameters.

    With several ranks they are views of a few arrays, the buckets, in the order of the backward
    pass. The sum of a bucket over the ranks begins as soon as the pass has filled it.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], ranks: Ranks, bucket_bytes: int = _BUCKET_BYTES
    ) -> None:
        self._parameters, self._ranks = list(parameters), ranks
        self._buckets: list[Tensor] = []
        self._sizes: list[int] = []
        self._missing: list[int] = []
        self._sums: list[Callable[[], None]] = []
        if ranks.world_size > 1:
            for members in _fill_buckets(self._parameters, bucket_bytes):
                self._add_bucket(members)

    def _add_bucket(self, members: Sequence[nn.Parameter]) -> None:
        joined, views = join_gradients(members)
        number = len(self._buckets)
        self._buckets.append(joined)
        self._sizes.append(len(members))
        for parameter, view in zip(members, views, strict=True):
            parameter.grad = view
            parameter.register_post_accumulate_grad_hook(  # type: ignore[no-untyped-call]
                lambda _: self._note(number)
            )

    def clear(self, num_losses: int) -> None:
        """Prepare for a step with so many losses."""
        self._missing, self._sums = [num_losses * size for size in self._sizes], []
        for bucket in self._buckets:
            bucket.zero_()
        if not self._buckets:
            for parameter in self._parameters:
                parameter.grad = None  # written by the backward pass, faster than added to

    def add(self, loss: Tensor) -> None:
        """Add the gradients of a loss."""
        loss.backward()  # type: ignore[no-untyped-call]

    def _note(self, bucket: int) -> None:
        """Begin the sums of buckets that have all gradients, in one order on all ranks."""
        self._missing[bucket] -= 1
        while len(self._sums) < len(self._buckets) and not self._missing[len(self._sums)]:
            self._begin_next()

    def _begin_next(self) -> None:
        self._sums.append(self._ranks.begin_sum(self._buckets[len(self._sums)]))

    def sum(self) -> None:
        """Wait until the gradients of the other ranks have been added."""
        while len(self._sums) < len(self._buckets):  # a parameter has no gradient
            self._begin_next()
        for finish in self._sums:
            finish()


def _fill_buckets(
    parameters: Sequence[nn.Parameter], bucket_bytes: int
) -> Iterator[list[nn.Parameter]]:
    members: list[nn.Parameter] = []
    for parameter in reversed(parameters):
        members.append(parameter)
        if sum(each.nbytes for each in members) >= bucket_bytes:
            yield members
            members = []
    if members:
        yield members


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
