"""Sums over the ranks as parts of a graph."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence

from mindspore import Tensor, nn, ops

from ssd_core.backends.ranks import Ranks


def all_reduce(ranks: Ranks) -> ops.Primitive | nn.Cell:
    """Return the operation that sums a tensor over the ranks; its gradient is the same sum."""
    return ops.AllReduce() if ranks.world_size > 1 else nn.Identity()


def sum_gradients(num_gradients: int, group_ends: Sequence[int], ranks: Ranks) -> nn.Cell:
    """Return the operation that adds the gradients of the other ranks to a tuple of gradients.

    On GPUs and NPUs MindSpore joins the sums of a group in one message.

    Args:
        num_gradients: length of the tuple.
        group_ends: ascending indices of the last gradients of all groups but the last.
        ranks: the processes that train together.
    """
    if ranks.world_size == 1:
        return nn.Identity()
    return GradientSum(1 + bisect_left(group_ends, index) for index in range(num_gradients))


class GradientSum(nn.Cell):
    """Sums each tensor of a tuple over the ranks."""

    def __init__(self, groups: Iterable[int]) -> None:
        super().__init__()
        self.sums = [ops.AllReduce().add_prim_attr("fusion", group) for group in groups]

    def construct(self, gradients: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return the sums in the same order."""
        sums: tuple[Tensor, ...] = ()
        for index in range(len(gradients)):
            sums += (self.sums[index](gradients[index]),)
        return sums
