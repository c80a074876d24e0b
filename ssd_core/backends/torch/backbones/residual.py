"""A small residual network for laptops."""

from torch import Tensor, nn
from torch.nn import functional

from ssd_core.backends.torch.backbones.layers import Backbone, ConvNorm
from ssd_core.networks import Style


class Residual(Backbone):
    """A stem and five basic blocks (He et al. 2015), each halving the image: 0.75 M parameters.

    Small enough to learn from random weights on a laptop. The levels are the last four blocks, at
    strides 8 to 64.
    """

    channels = (48, 96, 128, 128)

    def __init__(self, style: Style) -> None:
        super().__init__()
        self.stem = ConvNorm(3, 16, style, kernel_size=3, stride=2)
        widths = (16, 24, *self.channels)
        self.blocks = nn.ModuleList(
            BasicBlock(*pair, style) for pair in zip(widths, widths[1:], strict=False)
        )

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the feature maps of the last four blocks."""
        features = [functional.relu_(self.stem(images))]
        for block in self.blocks:
            features.append(block(features[-1]))
        return features[2:]


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a projection, with batch normalisation; halves the side."""

    def __init__(self, in_channels: int, out_channels: int, style: Style) -> None:
        super().__init__()
        self.first = ConvNorm(in_channels, out_channels, style, kernel_size=3, stride=2)
        self.second = ConvNorm(out_channels, out_channels, style, kernel_size=3, stride=1)
        self.shortcut = ConvNorm(in_channels, out_channels, style, kernel_size=1, stride=2)

    def forward(self, features: Tensor) -> Tensor:
        """Return [B, out_channels, H / 2, W / 2], rounded up."""
        residual = self.second(functional.relu_(self.first(features)))
        return functional.relu_(residual.add_(self.shortcut(features)))
