"""MobileNetV1 and the extra layers of MindSpore's SSD."""

from torch import Tensor, nn
from torch.nn import functional

from ssd_core.backends.torch.backbones.layers import Backbone, ConvNorm
from ssd_core.networks import (
    MOBILENET_V1,
    MOBILENET_V1_EXTRAS,
    MOBILENET_V1_LEVELS,
    MOBILENET_V1_PYRAMID,
    Design,
    Style,
)


class MobileNetV1(Backbone):
    """MobileNetV1 (Howard et al. 2017, table 1); its levels are the outputs of some blocks."""

    def __init__(self, style: Style, levels: tuple[int, ...]) -> None:
        super().__init__()
        self.channels = tuple(MOBILENET_V1[index][0] for index in levels)
        self.stem = ConvNorm(3, 32, style, kernel_size=3, stride=2)
        widths = (32, *(channels for channels, _ in MOBILENET_V1))
        self.blocks = nn.ModuleList(
            SeparableBlock(width, channels, stride, style)
            for width, (channels, stride) in zip(widths, MOBILENET_V1, strict=False)
        )
        self._levels = levels

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the feature maps of the chosen blocks."""
        features = [functional.relu6(self.stem(images))]
        for block in self.blocks:
            features.append(block(features[-1]))
        return [features[index + 1] for index in self._levels]


class SeparableBlock(nn.Module):
    """A depthwise 3x3 and a 1x1 convolution, each with batch normalisation and an activation."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, style: Style) -> None:
        super().__init__()
        self.depthwise = ConvNorm(
            in_channels, in_channels, style, kernel_size=3, stride=stride, groups=in_channels
        )
        self.pointwise = ConvNorm(in_channels, out_channels, style, kernel_size=1, stride=1)

    def forward(self, features: Tensor) -> Tensor:
        """Return [B, out_channels, H / stride, W / stride], rounded up."""
        return functional.relu6(self.pointwise(functional.relu6(self.depthwise(features))))


class HalvingLayer(ConvNorm):
    """A 3x3 convolution of stride 2, with batch normalisation and an activation."""

    def __init__(self, in_channels: int, out_channels: int, style: Style) -> None:
        super().__init__(in_channels, out_channels, style, kernel_size=3, stride=2)
        self.out_channels = out_channels

    def forward(self, features: Tensor) -> Tensor:
        """Return the feature map of the next level."""
        return functional.relu6(super().forward(features))


def build_mobilenet_v1(design: Design) -> tuple[MobileNetV1, list[HalvingLayer]]:
    """Return the network of MindSpore's SSD; one for a pyramid has no extra layers.

    At 300 px the levels have 19, 10, 5, 3, 2 and 1 cells per side.
    """
    if design.has_pyramid:
        return MobileNetV1(design.backbone, MOBILENET_V1_PYRAMID), []
    widths = (MOBILENET_V1[-1][0], *MOBILENET_V1_EXTRAS)
    extras = [HalvingLayer(*pair, design.heads) for pair in zip(widths, widths[1:], strict=False)]
    return MobileNetV1(design.backbone, MOBILENET_V1_LEVELS), extras
