"""ResNet-50 as in NVIDIA's SSD300, with extra layers, and as in MindSpore's, for a pyramid."""

from torch import Tensor, nn
from torch.nn import functional

from ssd_core.backends.torch.backbones.layers import Backbone, ConvNorm, pad_same
from ssd_core.networks import EXTRAS, RESNET50, Design, Extra, Style


class ResNet50(Backbone):
    """ResNet-50 (He et al. 2015, table 1) up to its stage conv4, which has stride 1 here.

    The only level has 38 cells per side at 300 px. With conv5, conv4 has stride 2, and the outputs
    of conv3 to conv5 are the levels.
    """

    def __init__(self, style: Style, *, has_conv5: bool) -> None:
        super().__init__()
        self.channels = (512, 1024, 2048) if has_conv5 else (1024,)
        self._has_conv5, self._is_symmetric = has_conv5, style.padding == "symmetric"
        self.stem = ConvNorm(3, 64, style, kernel_size=7, stride=2)
        self.conv2 = _stage(64, *RESNET50[2], style, stride=1)
        self.conv3 = _stage(256, *RESNET50[3], style, stride=2)
        self.conv4 = _stage(512, *RESNET50[4], style, stride=2 if has_conv5 else 1)
        if has_conv5:
            self.conv5 = _stage(1024, *RESNET50[5], style, stride=2)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the feature map at stride 8, or those at strides 8, 16 and 32."""
        stem = functional.relu_(self.stem(images))
        # Padded with 0, the least value that it has.
        padded = functional.pad(stem, (1, 1, 1, 1)) if self._is_symmetric else pad_same(stem, 3, 2)
        conv3 = self.conv3(self.conv2(functional.max_pool2d(padded, 3, 2)))
        conv4 = self.conv4(conv3)
        return [conv3, conv4, self.conv5(conv4)] if self._has_conv5 else [conv4]


class Bottleneck(nn.Module):
    """A 1x1, a 3x3 and a 1x1 convolution beside a shortcut; the 3x3 one has the stride."""

    def __init__(self, in_channels: int, out_channels: int, style: Style, *, stride: int) -> None:
        super().__init__()
        hidden = out_channels // 4
        self.first = ConvNorm(in_channels, hidden, style, kernel_size=1, stride=1)
        self.second = ConvNorm(hidden, hidden, style, kernel_size=3, stride=stride)
        self.third = ConvNorm(hidden, out_channels, style, kernel_size=1, stride=1)
        self.shortcut = (
            ConvNorm(in_channels, out_channels, style, kernel_size=1, stride=stride)
            if in_channels != out_channels
            else nn.Identity()
        )

    def forward(self, features: Tensor) -> Tensor:
        """Return [B, out_channels, H / stride, W / stride], rounded up."""
        residual = self.second(functional.relu_(self.first(features)))
        residual = self.third(functional.relu_(residual))
        return functional.relu_(residual.add_(self.shortcut(features)))


class ExtraBottleneck(nn.Module):
    """A 1x1 and a 3x3 convolution with norms that add a coarser level."""

    def __init__(self, in_channels: int, extra: Extra, style: Style) -> None:
        super().__init__()
        self.out_channels, kernel_size, stride, padding = extra
        hidden = self.out_channels // 2
        self.first = ConvNorm(in_channels, hidden, style, kernel_size=1, stride=1)
        self.second = ConvNorm(
            hidden,
            self.out_channels,
            style,
            kernel_size=kernel_size,
            stride=stride,
            padding=padding,
        )

    def forward(self, features: Tensor) -> Tensor:
        """Return the feature map of the next level."""
        return functional.relu_(self.second(functional.relu_(self.first(features))))


def build_resnet50(design: Design) -> tuple[ResNet50, list[ExtraBottleneck]]:
    """Return the network of NVIDIA's SSD300 v1.1.

    At 300 px the extra levels have 19, 10, 5, 3 and 1 cells per side.
    """
    backbone, extras = ResNet50(design.backbone, has_conv5=False), EXTRAS["resnet50"]
    widths = (*backbone.channels, *(extra.out_channels for extra in extras))
    return backbone, [
        ExtraBottleneck(width, extra, design.heads)
        for width, extra in zip(widths, extras, strict=False)
    ]


def build_resnet50_conv5(design: Design) -> tuple[ResNet50, list[ExtraBottleneck]]:
    """Return the backbone of MindSpore's detector; its blocks begin as the identity.

    That is section 5.1 of Goyal et al. 2017; NVIDIA's network begins with a scale of 1.
    """
    backbone = ResNet50(design.backbone, has_conv5=True)
    for layer in backbone.modules():
        if isinstance(layer, Bottleneck):
            nn.init.zeros_(layer.third.norm.scale)
    return backbone, []


def _stage(
    in_channels: int, channels: int, count: int, style: Style, *, stride: int
) -> nn.Sequential:
    return nn.Sequential(
        Bottleneck(in_channels, channels, style, stride=stride),
        *(Bottleneck(channels, channels, style, stride=1) for _ in range(count - 1)),
    )
