"""Layers of which all backbones consist."""

import math

from torch import Tensor, nn
from torch.nn import functional

from ssd_core.backends.torch.norms import BatchNorm
from ssd_core.networks import Style


class Backbone(nn.Module):
    """Turns [B, 3, S, S] into the feature maps of its levels, finest first."""

    channels: tuple[int, ...]
    """Of each level."""


class ConvNorm(nn.Module):
    """A convolution without bias and its batch normalisation."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        style: Style,
        *,
        kernel_size: int,
        stride: int,
        groups: int = 1,
        padding: int | None = None,
    ) -> None:
        """Pad as `style` does, or symmetrically by `padding` pixels."""
        super().__init__()
        if padding is None:
            padding = kernel_size // 2
        symmetric = style.padding == "symmetric"
        self.conv = (nn.Conv2d if symmetric else SameConv2d)(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding=padding if symmetric else 0,
            groups=groups,
            bias=False,
        )
        self.norm = BatchNorm(out_channels, style.norm)

    def forward(self, features: Tensor) -> Tensor:
        """Return the normalised output of the convolution."""
        normalized: Tensor = self.norm(self.conv(features))
        return normalized


class SameConv2d(nn.Conv2d):
    """A convolution that pads as TensorFlow does: at stride 2 an even side at its end only."""

    def forward(self, features: Tensor) -> Tensor:
        """Return [B, C, H / stride, W / stride], rounded up; the input is square."""
        return super().forward(pad_same(features, self.kernel_size[0], self.stride[0]))


def pad_same(features: Tensor, kernel_size: int, stride: int) -> Tensor:
    """Pad a square map with 0 for a window, more or only at the end if the rows are uneven."""
    side = features.shape[-1]
    missing = max(0, (math.ceil(side / stride) - 1) * stride + kernel_size - side)
    start, end = missing // 2, missing - missing // 2
    return functional.pad(features, (start, end, start, end))
