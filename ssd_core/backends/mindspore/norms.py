"""Batch normalisation whose parameters have the neutral names of `docs/file-formats.md`."""

from mindspore import Parameter, Tensor, nn, ops

from ssd_core.config import NormSpec


class BatchNorm(nn.Cell):
    """Batch normalisation (Ioffe and Szegedy 2015); `nn.BatchNorm2d` has other parameter names."""

    def __init__(self, num_channels: int, norm: NormSpec) -> None:
        super().__init__()
        self.scale = Parameter(ops.ones(num_channels))
        self.offset = Parameter(ops.zeros(num_channels))
        self.mean = Parameter(ops.zeros(num_channels), requires_grad=False)
        self.variance = Parameter(ops.ones(num_channels), requires_grad=False)
        self._learn = ops.BatchNorm(True, norm.epsilon, norm.momentum)
        self._apply = ops.BatchNorm(False, norm.epsilon)

    def construct(self, features: Tensor) -> Tensor:
        """Return [B, C, H, W] with mean 0 and variance 1 over the batch, then scaled.

        Outside of training the tracked statistics replace those of the batch.
        """
        if self.training:
            return self._learn(features, self.scale, self.offset, self.mean, self.variance)[0]
        return self._apply(features, self.scale, self.offset, self.mean, self.variance)[0]
