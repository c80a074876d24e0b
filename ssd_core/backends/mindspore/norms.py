"""Batch normalisation whose parameters have the neutral names of `docs/file-formats.md`."""

from collections.abc import Collection

import mindspore as ms
from mindspore import Parameter, Tensor, nn, ops

from ssd_core.backends.mindspore.collectives import all_reduce
from ssd_core.backends.ranks import Ranks
from ssd_core.config import NormSpec


class BatchNorm(nn.Cell):
    """Batch normalisation (Ioffe and Szegedy 2015) of a batch that several ranks may share.

    `nn.BatchNorm2d` has other parameter names, and `nn.SyncBatchNorm` is for Ascend only.
    """

    def __init__(self, num_channels: int, norm: NormSpec) -> None:
        super().__init__()
        self.keeps_statistics = False
        self.scale = Parameter(ops.ones(num_channels))
        self.offset = Parameter(ops.zeros(num_channels))
        self.mean = Parameter(ops.zeros(num_channels), requires_grad=False)
        self.variance = Parameter(ops.ones(num_channels), requires_grad=False)
        self._learn = ops.BatchNorm(True, norm.epsilon, norm.momentum)
        self._apply = ops.BatchNorm(False, norm.epsilon)
        self._epsilon, self._momentum, self._num_ranks = norm.epsilon, norm.momentum, 1

    def share(self, ranks: Ranks) -> None:
        """Take the statistics of the parts of the batch on all ranks."""
        self._sum, self._num_ranks = all_reduce(ranks), ranks.world_size

    def construct(self, features: Tensor) -> Tensor:
        """Return [B, C, H, W] with mean 0 and variance 1 over the batch, then scaled.

        Outside of training, or if they are frozen, the tracked statistics replace those of the
        batch.
        """
        if not self.training or self.keeps_statistics:
            return self._apply(features, self.scale, self.offset, self.mean, self.variance)[0]
        if self._num_ranks > 1:
            return self._learn_together(features)
        return self._learn(features, self.scale, self.offset, self.mean, self.variance)[0]

    def _learn_together(self, features: Tensor) -> Tensor:
        shape = (1, -1, 1, 1)
        wide = features.astype(ms.float32)
        mean = self._sum(wide.mean(axis=(0, 2, 3)) / self._num_ranks)
        centred = wide - mean.reshape(shape)
        variance = self._sum(ops.square(centred).mean(axis=(0, 2, 3)) / self._num_ranks)
        count = features.size // features.shape[1] * self._num_ranks
        unbiased = variance * (count / (count - 1))
        ops.assign_add(self.mean, self._momentum * (mean - self.mean))
        ops.assign_add(self.variance, self._momentum * (unbiased - self.variance))
        slope = self.scale * ops.rsqrt(variance + self._epsilon)
        normalized = centred * slope.reshape(shape) + self.offset.reshape(shape)
        return normalized.astype(features.dtype)


def freeze(model: nn.Cell, names: Collection[str]) -> None:
    """Keep the weights and statistics with these names; call it before the first compilation."""
    for name, parameter in model.parameters_and_names():
        parameter.requires_grad = parameter.requires_grad and name not in names
    for name, cell in model.cells_and_names():
        if isinstance(cell, BatchNorm):
            cell.keeps_statistics = f"{name}.mean" in names


def share_statistics(model: nn.Cell, ranks: Ranks) -> None:
    """Make all batch normalisations of `model` use the parts of the batch on all ranks."""
    for _, cell in model.cells_and_names():
        if isinstance(cell, BatchNorm):
            cell.share(ranks)
