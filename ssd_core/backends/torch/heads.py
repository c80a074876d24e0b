"""The heads, which classify the anchors of all levels or place them."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from ssd_core.backends.torch.backbones.layers import ConvNorm
from ssd_core.backends.torch.norms import BatchNorm
from ssd_core.config import ModelConfig
from ssd_core.networks import TOWER_DEPTH, Design, Style


class SeparableHead(nn.Module):
    """A depthwise 3x3 convolution and a 1x1 convolution (SSDLite, Sandler et al. 2018)."""

    def __init__(self, in_channels: int, out_channels: int, style: Style) -> None:
        super().__init__()
        self.depthwise = ConvNorm(
            in_channels, in_channels, style, kernel_size=3, stride=1, groups=in_channels
        )
        self.conv = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Return [B, out_channels, H, W]."""
        outputs: Tensor = self.conv(functional.relu6(self.depthwise(features)))
        return outputs


class LevelHeads(nn.ModuleList):
    """A head per level."""

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """Return [B, out_channels, H, W] of each level."""
        return [head(level) for head, level in zip(self, features, strict=True)]


class SharedHead(nn.Module):
    """A tower of convolutions that all levels share, with batch normalisation for each level.

    The head of RetinaNet (Lin et al. 2017, section 4) with the norms of TensorFlow's SSD.
    """

    def __init__(self, channels: int, out_channels: int, num_levels: int, style: Style) -> None:
        super().__init__()
        self.tower = nn.ModuleList(
            nn.Conv2d(channels, channels, 3, padding=1) for _ in range(TOWER_DEPTH)
        )
        self.norms = nn.ModuleList(
            nn.ModuleList(BatchNorm(channels, style.norm) for _ in range(TOWER_DEPTH))
            for _ in range(num_levels)
        )
        self.conv = nn.Conv2d(channels, out_channels, 3, padding=1)

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """Return [B, out_channels, H, W] of each level."""
        outputs = []
        for norms, level in zip(self.norms, features, strict=True):
            for convolution, norm in zip(self.tower, norms.children(), strict=True):
                level = functional.relu6(norm(convolution(level)))
            outputs.append(self.conv(level))
        return outputs


def build_head(config: ModelConfig, channels: tuple[int, ...], num_outputs: int) -> nn.Module:
    """Return a head with `num_outputs` for each anchor of the levels."""
    style = Design.of(config).heads
    widths = [len(level.shapes) * num_outputs for level in config.anchors]
    if config.head == "shared":
        return SharedHead(channels[0], widths[0], len(channels), style)
    pairs = zip(channels, widths, strict=True)
    if config.head == "separable":
        return LevelHeads(SeparableHead(*pair, style) for pair in pairs)
    return LevelHeads(nn.Conv2d(*pair, 3, padding=1) for pair in pairs)


def join_levels(outputs: list[Tensor], num_outputs: int) -> Tensor:
    """Concatenate the anchors of all levels, rows and columns: [B, A, num_outputs]."""
    return torch.cat(
        [level.permute(0, 2, 3, 1).reshape(level.shape[0], -1, num_outputs) for level in outputs],
        dim=1,
    )
