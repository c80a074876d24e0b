"""Sums over the ranks as parts of a graph."""

from bisect import bisect_left
from collections.abc import Sequence

from mindspore import Tensor, nn, ops

from ssd_core.backends.ranks import Ranks


def all_reduce(ranks: Ranks) -> ops.Primitive | nn.Cell:
    """Return the operation that sums a tensor over the ranks; its gradient is the same sum."""
    return ops.AllReduce() if ranks.world_size > 1 else nn.Identity()


class GradientSum(nn.Cell):
    """Adds the gradients of the other ranks.

    On GPUs and NPUs MindSpore joins the sums of a group in one message.
    """

    def __init__(self, num_gradients: int, group_ends: Sequence[int], ranks: Ranks) -> None:
        super().__init__()
        self._sums = [all_reduce(ranks) for _ in range(num_gradients)]
        if ranks.world_size > 1:
            for index, operation in enumerate(self._sums):
                operation.add_prim_attr("fusion", 1 + bisect_left(group_ends, index))

    def construct(self, gradients: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return the sums in the same order."""
        sums: tuple[Tensor, ...] = ()
        for index in range(len(gradients)):
            sums += (self._sums[index](gradients[index]),)
        return sums
