"""Backbones and extra layers: together they turn an image into the feature maps of all levels.

The names of modules are the names of the weights on disk, see `docs/file-formats.md`.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from ssd_core.backends.torch.norms import BatchNorm
from ssd_core.networks import (
    DROPOUT_ROUNDS,
    DROPOUT_STRIDE,
    MOBILENET_V2_BRANCH,
    MOBILENET_V2_EXTRAS,
    VGG16,
    VGG16_EXTRAS,
    Block,
    Style,
    mobilenet_v2_blocks,
)

Extra: TypeAlias = "ExtraLayer | ExtraResidual"


class Backbone(nn.Module):
    """Turns [B, 3, S, S] into the feature maps of its levels, finest first."""

    channels: tuple[int, ...]
    """Of each level."""


class Vgg16(Backbone):
    """VGG16 as in the SSD paper, section 3: conv4_3 normalised, fc6 and fc7 convolutions.

    MindSpore's variant `is_linear` has neither biases nor that norm, and dropout in place of the
    activations of fc6 and fc7. At 300 px the two levels have 38 and 19 cells per side.
    """

    channels = (512, 1024)

    def __init__(self, *, is_linear: bool) -> None:
        super().__init__()
        in_channels, bias = 3, not is_linear
        for stage, widths in VGG16.items():
            for index, width in enumerate(widths, 1):
                convolution = nn.Conv2d(in_channels, width, 3, padding=1, bias=bias)
                self.add_module(f"conv{stage}_{index}", convolution)
                in_channels = width
        self.conv4_3_norm = nn.Identity() if is_linear else L2Norm(512, scale=20.0)
        self.fc6 = nn.Conv2d(512, 1024, 3, padding=6, dilation=6, bias=bias)
        self.fc7 = nn.Conv2d(1024, 1024, 1, bias=bias)
        self.dropout6, self.dropout7 = Dropout(0), Dropout(1)
        self._is_linear = is_linear

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the feature maps of conv4_3 and fc7."""
        features = self._stage(1, images)
        for stage in (2, 3, 4):
            # Pools 3 and 4 round up, as those of the Caffe original do: 75 cells become 38.
            features = functional.max_pool2d(features, 2, ceil_mode=self._is_linear or stage == 4)
            features = self._stage(stage, features)
        conv4_3 = self.conv4_3_norm(features)
        features = self._stage(5, functional.max_pool2d(features, 2, ceil_mode=True))
        features = functional.max_pool2d(features, 3, stride=1, padding=1)
        if self._is_linear:
            features = self.dropout6(self.fc6(features), images)
            features = self.dropout7(self.fc7(features), images)
        else:
            features = functional.relu_(self.fc7(functional.relu_(self.fc6(features))))
        return [conv4_3, features]

    def _stage(self, stage: int, features: Tensor) -> Tensor:
        for index in range(1, len(VGG16[stage]) + 1):
            features = functional.relu_(self.get_submodule(f"conv{stage}_{index}")(features))
        return features


class Dropout(nn.Module):
    """Zeroes half of the values and doubles the others in training (Srivastava et al. 2014)."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number

    def forward(self, features: Tensor, images: Tensor) -> Tensor:
        """Return [B, C, H, W] with a mask that `images` [B, 3, S, S] determine, see `networks`."""
        if not self.training:
            return features
        with torch.no_grad():
            pixels = (images.flatten(1) * 64).to(torch.int32)
            seeds = pixels.sum(1, keepdim=True, dtype=torch.int32) + self._number
            positions = torch.arange(features[0].numel(), dtype=torch.int32, device=images.device)
            noise = positions * DROPOUT_STRIDE + seeds
            for _ in range(DROPOUT_ROUNDS):
                noise = noise * (noise * 2 + 1)
            mask = (noise >= 0).view_as(features)
        return features * mask * 2


class ExtraLayer(nn.Module):
    """A 1x1 and a 3x3 convolution that add a coarser level (SSD paper, section 3).

    Those of MindSpore `is_linear` have neither biases nor activations.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, stride: int, padding: int, is_linear: bool
    ) -> None:
        super().__init__()
        self.out_channels, hidden, bias = out_channels, out_channels // 2, not is_linear
        self.conv1 = nn.Conv2d(in_channels, hidden, 1, bias=bias)
        self.conv2 = nn.Conv2d(hidden, out_channels, 3, stride=stride, padding=padding, bias=bias)
        self._is_linear = is_linear

    def forward(self, features: Tensor) -> Tensor:
        """Return the feature map of the next level."""
        if self._is_linear:
            linear: Tensor = self.conv2(self.conv1(features))
            return linear
        return functional.relu_(self.conv2(functional.relu_(self.conv1(features))))


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


class MobileNetV2(Backbone):
    """MobileNetV2 (Sandler et al. 2018, table 2), with the levels of TensorFlow's SSD.

    The first level is the output of block 12 after a 1x1 convolution to 576 channels, the second
    one that of the last convolution; at 300 px they have 19 and 10 cells per side.
    """

    channels = (576, 1280)

    def __init__(self, style: Style) -> None:
        super().__init__()
        self.stem = ConvNorm(3, 32, style, kernel_size=3, stride=2)
        self.blocks = nn.ModuleList(
            InvertedResidual(block, style) for block in mobilenet_v2_blocks()
        )
        self.branch = ConvNorm(96, 576, style, kernel_size=1, stride=1)
        self.last = ConvNorm(320, 1280, style, kernel_size=1, stride=1)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the feature maps at strides 16 and 32."""
        features = functional.relu6(self.stem(images))
        for index, block in enumerate(self.blocks):
            features = block(features)
            if index == MOBILENET_V2_BRANCH:
                branch = functional.relu6(self.branch(features))
        return [branch, functional.relu6(self.last(features))]


class InvertedResidual(nn.Module):
    """A 1x1 expansion, a depthwise 3x3 convolution and a linear 1x1 projection."""

    def __init__(self, block: Block, style: Style) -> None:
        super().__init__()
        in_channels, self.out_channels, hidden, stride = block
        self.expand = (
            ConvNorm(in_channels, hidden, style, kernel_size=1, stride=1)
            if hidden != in_channels
            else nn.Identity()
        )
        self.depthwise = ConvNorm(
            hidden, hidden, style, kernel_size=3, stride=stride, groups=hidden
        )
        self.project = ConvNorm(hidden, self.out_channels, style, kernel_size=1, stride=1)
        self._is_residual = stride == 1 and in_channels == self.out_channels

    def forward(self, features: Tensor) -> Tensor:
        """Return [B, out_channels, H / stride, W / stride], rounded up."""
        expanded = functional.relu6(self.expand(features))
        projected: Tensor = self.project(functional.relu6(self.depthwise(expanded)))
        return projected + features if self._is_residual else projected


class ExtraResidual(InvertedResidual):
    """An inverted residual that adds a coarser level, with an activation after its projection."""

    def forward(self, features: Tensor) -> Tensor:
        """Return the feature map of the next level."""
        return functional.relu6(super().forward(features))


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
    ) -> None:
        super().__init__()
        symmetric = style.padding == "symmetric"
        self.conv = (nn.Conv2d if symmetric else SameConv2d)(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding=kernel_size // 2 if symmetric else 0,
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
        side, stride, kernel_size = features.shape[-1], self.stride[0], self.kernel_size[0]
        missing = max(0, (math.ceil(side / stride) - 1) * stride + kernel_size - side)
        start, end = missing // 2, missing - missing // 2
        return super().forward(functional.pad(features, (start, end, start, end)))


class L2Norm(nn.Module):
    """Scales each position's channels to a learned length (ParseNet, Liu et al. 2015)."""

    def __init__(self, num_channels: int, *, scale: float) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((num_channels,), scale))

    def forward(self, features: Tensor) -> Tensor:
        """Return `features` normalised, in single precision: squares overflow half types."""
        return functional.normalize(features.float()) * self.scale.view(1, -1, 1, 1)


def build_vgg16(*, is_linear: bool) -> tuple[Vgg16, list[ExtraLayer]]:
    """Return the network of the SSD paper, or MindSpore's; neither has batch normalisation.

    At 300 px the extra levels have 10, 5, 3 and 1 cells per side.
    """
    extras, in_channels = [], 1024
    for channels, stride, padding in VGG16_EXTRAS:
        extras.append(
            ExtraLayer(in_channels, channels, stride=stride, padding=padding, is_linear=is_linear)
        )
        in_channels = channels
    return Vgg16(is_linear=is_linear), extras


def build_mobilenet_v2(style: Style) -> tuple[MobileNetV2, list[ExtraResidual]]:
    """Return the network of TensorFlow's SSDLite and of its port to MindSpore.

    At 300 px the extra levels have 5, 3, 2 and 1 cells per side.
    """
    return MobileNetV2(style), [ExtraResidual(block, style) for block in MOBILENET_V2_EXTRAS]


BACKBONES: dict[str, Callable[[Style], tuple[Backbone, Sequence[Extra]]]] = {
    "vgg16": lambda _: build_vgg16(is_linear=False),
    "vgg16_linear": lambda _: build_vgg16(is_linear=True),
    "residual": lambda style: (Residual(style), []),
    "mobilenet_v2": build_mobilenet_v2,
}
"""Each returns a backbone and its extra layers."""


def compute_features(
    backbone: Backbone, extras: Iterable[nn.Module], images: Tensor
) -> list[Tensor]:
    """Return the feature maps of all levels, finest first."""
    features: list[Tensor] = backbone(images)
    for layer in extras:
        features.append(layer(features[-1]))
    return features
