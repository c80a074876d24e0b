"""Layers of which all backbones consist."""

from mindspore import Tensor, nn

from ssd_core.backends.mindspore.norms import BatchNorm
from ssd_core.networks import Style


class Backbone(nn.Cell):
    """Turns [B, 3, S, S] into the feature maps of its levels, finest first."""

    channels: tuple[int, ...]
    """Of each level."""


def convolution(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    *,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    bias: bool = True,
) -> nn.Conv2d:
    """Return a convolution that pads all sides equally."""
    return nn.Conv2d(
        in_channels,
        out_channels,
        kernel_size,
        stride=stride,
        pad_mode="pad",
        padding=padding,
        dilation=dilation,
        has_bias=bias,
    )


class ConvNorm(nn.Cell):
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
    ) -> None:
        super().__init__()
        symmetric = style.padding == "symmetric"
        self.conv = nn.Conv2d(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            pad_mode="pad" if symmetric else "same",
            padding=kernel_size // 2 if symmetric else 0,
            group=groups,
            has_bias=False,
        )
        self.norm = BatchNorm(out_channels, style.norm)

    def construct(self, features: Tensor) -> Tensor:
        """Return the normalised output of the convolution."""
        return self.norm(self.conv(features))
