"""Batch normalisation with the statistics of the whole batch, also when ranks share it."""

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from ssd_core.backends.ranks import ALONE, Ranks
from ssd_core.config import NormSpec
from ssd_core.errors import UsageError

_CHANNEL = (1, -1, 1, 1)


class BatchNorm(nn.Module):
    """Batch normalisation (Ioffe and Szegedy 2015) of a batch that several ranks may share.

    torch's own `SyncBatchNorm` does the same on GPUs only.
    """

    mean: Tensor
    variance: Tensor
    ranks: Ranks = ALONE
    keeps_statistics = False
    """Whether the statistics are frozen, so that training uses them too."""

    def __init__(self, num_channels: int, norm: NormSpec) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(num_channels))
        self.offset = nn.Parameter(torch.zeros(num_channels))
        self.register_buffer("mean", torch.zeros(num_channels))
        self.register_buffer("variance", torch.ones(num_channels))
        self.momentum, self.eps = norm.momentum, norm.epsilon

    def forward(self, features: Tensor) -> Tensor:
        """Return [B, C, H, W] with mean 0 and variance 1 over the global batch, then scaled.

        Outside of training, or if they are frozen, the tracked statistics replace those of the
        batch.
        """
        is_training = self.training and not self.keeps_statistics
        if self.ranks.world_size == 1 or not is_training:
            if is_training and features.numel() == features.shape[1]:
                raise UsageError(
                    "batch normalisation cannot train on one image; choose a greater "
                    "train.batch_size, or a train.micro_batch_size that leaves no single image"
                )
            return functional.batch_norm(
                features,
                self.mean,
                self.variance,
                self.scale,
                self.offset,
                training=is_training,
                momentum=self.momentum,
                eps=self.eps,
            )
        normalized: Tensor = _Normalize.apply(features, self.scale, self.offset, self, self.ranks)
        return normalized


def share_statistics(model: nn.Module, ranks: Ranks) -> None:
    """Make all batch normalisations of `model` use the parts of the batch on all ranks."""
    for layer in model.modules():
        if isinstance(layer, BatchNorm):
            layer.ranks = ranks


def freeze(model: nn.Module, names: Collection[str]) -> None:
    """Keep the weights and statistics with these names as they are."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name not in names)
    for name, layer in model.named_modules():
        if isinstance(layer, BatchNorm):
            layer.keeps_statistics = f"{name}.mean" in names


class _Normalize(torch.autograd.Function):
    """Normalises with statistics summed over the ranks; their gradients are summed too."""

    @staticmethod
    def forward(
        ctx: Any, features: Tensor, scale: Tensor, offset: Tensor, norm: BatchNorm, ranks: Ranks
    ) -> Tensor:
        values, rows = features.to(scale.dtype), (0, 2, 3)
        mean = ranks.sum(values.mean(rows) / ranks.world_size)
        # torch.var_mean takes ten times as long on a processor.
        spread = (values - mean.view(_CHANNEL)).square_().mean(rows)
        variance = ranks.sum(spread / ranks.world_size)
        count = features.numel() // features.shape[1] * ranks.world_size
        if ranks.tracks_statistics:
            norm.mean.lerp_(mean, norm.momentum)
            norm.variance.lerp_(variance * (count / (count - 1)), norm.momentum)
        ctx.save_for_backward(features, scale, mean, variance)
        ctx.eps, ctx.count, ctx.ranks = norm.eps, count, ranks
        return functional.batch_norm(features, mean, variance, scale, offset, eps=norm.eps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        features, scale, mean, variance = ctx.saved_tensors
        # First as if the statistics were constants, then the gradient through them, from all ranks.
        of_features, of_scale, of_offset = torch.ops.aten.native_batch_norm_backward(
            gradient, features, scale, mean, variance, None, None, False, ctx.eps, [True] * 3
        )
        totals = ctx.ranks.sum(torch.stack([of_offset, of_scale]))
        inverse = torch.rsqrt(variance + ctx.eps)
        slope = totals[1] * inverse
        start = totals[0] - slope * mean
        factor = scale * inverse / ctx.count
        through = torch.addcmul(
            (start * factor).view(_CHANNEL),
            features.to(scale.dtype),
            (slope * factor).view(_CHANNEL),
        )
        return of_features - through.to(of_features.dtype), of_scale, of_offset, None, None
