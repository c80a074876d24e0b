"""Batch normalisation whose parameters have the neutral names of `docs/file-formats.md`."""

from collections.abc import Collection

from mindspore import Parameter, Tensor, nn, ops

from ssd_core.config import NormSpec


class BatchNorm(nn.Cell):
    """Batch normalisation (Ioffe and Szegedy 2015); `nn.BatchNorm2d` has other parameter names."""

    def __init__(self, num_channels: int, norm: NormSpec) -> None:
        super().__init__()
        self.keeps_statistics = False
        self.scale = Parameter(ops.ones(num_channels))
        self.offset = Parameter(ops.zeros(num_channels))
        self.mean = Parameter(ops.zeros(num_channels), requires_grad=False)
        self.variance = Parameter(ops.ones(num_channels), requires_grad=False)
        self._learn = ops.BatchNorm(True, norm.epsilon, norm.momentum)
        self._apply = ops.BatchNorm(False, norm.epsilon)

    def construct(self, features: Tensor) -> Tensor:
        """Return [B, C, H, W] with mean 0 and variance 1 over the batch, then scaled.

        Outside of training, or if they are frozen, the tracked statistics replace those of the
        batch.
        """
        if self.training and not self.keeps_statistics:
            return self._learn(features, self.scale, self.offset, self.mean, self.variance)[0]
        return self._apply(features, self.scale, self.offset, self.mean, self.variance)[0]


def freeze(model: nn.Cell, names: Collection[str]) -> None:
    """Keep the weights and statistics with these names; call it before the first compilation."""
    for name, parameter in model.parameters_and_names():
        parameter.requires_grad = parameter.requires_grad and name not in names
    for name, cell in model.cells_and_names():
        if isinstance(cell, BatchNorm):
            cell.keeps_statistics = f"{name}.mean" in names
