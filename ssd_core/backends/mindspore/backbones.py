"""Backbones and extra layers: together they turn an image into the feature maps of all levels.

The names of cells are the names of the weights on disk, see `docs/file-formats.md`.
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import mindspore as ms
from mindspore import Parameter, Tensor, nn, ops

from ssd_core.backends.mindspore.norms import BatchNorm
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


class Backbone(nn.Cell):
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
        self._stages = []
        for stage, widths in VGG16.items():
            names = [f"conv{stage}_{index}" for index in range(1, len(widths) + 1)]
            for name, width in zip(names, widths, strict=True):
                setattr(self, name, convolution(in_channels, width, 3, padding=1, bias=bias))
                in_channels = width
            self._stages.append(names)
        self.conv4_3_norm = nn.Identity() if is_linear else L2Norm(512, scale=20.0)
        self.fc6 = convolution(512, 1024, 3, padding=6, dilation=6, bias=bias)
        self.fc7 = convolution(1024, 1024, 1, bias=bias)
        self.dropout6, self.dropout7 = Dropout(0), Dropout(1)
        self._is_linear = is_linear
        # Pools 3 and 4 round up, as those of the Caffe original do: 75 cells become 38.
        self._halve_up = nn.MaxPool2d(2, 2, pad_mode="same")
        self._halve = self._halve_up if is_linear else nn.MaxPool2d(2, 2)
        self._smooth = nn.MaxPool2d(3, 1, pad_mode="same")

    def construct(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the feature maps of conv4_3 and fc7."""
        features = self._stage(0, images)
        features = self._stage(1, self._halve(features))
        features = self._stage(2, self._halve(features))
        conv4_3 = self._stage(3, self._halve_up(features))
        features = self._smooth(self._stage(4, self._halve_up(conv4_3)))
        if self._is_linear:
            features = self.dropout6(self.fc6(features), images)
            features = self.dropout7(self.fc7(features), images)
        else:
            features = ops.relu(self.fc7(ops.relu(self.fc6(features))))
        return self.conv4_3_norm(conv4_3), features

    def _stage(self, stage: int, features: Tensor) -> Tensor:
        for name in self._stages[stage]:
            features = ops.relu(getattr(self, name)(features))
        return features


class Dropout(nn.Cell):
    """Zeroes half of the values and doubles the others in training (Srivastava et al. 2014)."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number

    def construct(self, features: Tensor, images: Tensor) -> Tensor:
        """Return [B, C, H, W] with a mask that `images` [B, 3, S, S] determine, see `networks`."""
        if not self.training:
            return features
        pixels = (images * 64).astype(ms.int32)
        seeds = pixels.reshape(len(images), -1).sum(axis=1, keepdims=True) + self._number
        positions = ops.arange(features[0].size, dtype=ms.int32)
        noise = positions * DROPOUT_STRIDE + seeds
        for _ in range(DROPOUT_ROUNDS):
            noise = noise * (noise * 2 + 1)
        return features * ops.stop_gradient(noise.view(features.shape) >= 0) * 2


class ExtraLayer(nn.Cell):
    """A 1x1 and a 3x3 convolution that add a coarser level (SSD paper, section 3).

    Those of MindSpore `is_linear` have neither biases nor activations.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, stride: int, padding: int, is_linear: bool
    ) -> None:
        super().__init__()
        self.out_channels, hidden, bias = out_channels, out_channels // 2, not is_linear
        self.conv1 = convolution(in_channels, hidden, 1, bias=bias)
        self.conv2 = convolution(hidden, out_channels, 3, stride=stride, padding=padding, bias=bias)
        self._is_linear = is_linear

    def construct(self, features: Tensor) -> Tensor:
        """Return the feature map of the next level."""
        if self._is_linear:
            return self.conv2(self.conv1(features))
        return ops.relu(self.conv2(ops.relu(self.conv1(features))))


class Residual(Backbone):
    """A stem and five basic blocks (He et al. 2015), each halving the image: 0.75 M parameters.

    The levels are the last four blocks, at strides 8 to 64.
    """

    channels = (48, 96, 128, 128)

    def __init__(self, style: Style) -> None:
        super().__init__()
        self.stem = ConvNorm(3, 16, style, kernel_size=3, stride=2)
        widths = (16, 24, *self.channels)
        self.blocks = nn.CellList(
            [BasicBlock(*pair, style) for pair in zip(widths, widths[1:], strict=False)]
        )

    def construct(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the feature maps of the last four blocks."""
        features = [ops.relu(self.stem(images))]
        for block in self.blocks:
            features.append(block(features[-1]))
        return tuple(features[2:])


class BasicBlock(nn.Cell):
    """Two 3x3 convolutions beside a projection, with batch normalisation; halves the side."""

    def __init__(self, in_channels: int, out_channels: int, style: Style) -> None:
        super().__init__()
        self.first = ConvNorm(in_channels, out_channels, style, kernel_size=3, stride=2)
        self.second = ConvNorm(out_channels, out_channels, style, kernel_size=3, stride=1)
        self.shortcut = ConvNorm(in_channels, out_channels, style, kernel_size=1, stride=2)

    def construct(self, features: Tensor) -> Tensor:
        """Return [B, out_channels, H / 2, W / 2], rounded up."""
        residual = self.second(ops.relu(self.first(features)))
        return ops.relu(residual + self.shortcut(features))


class MobileNetV2(Backbone):
    """MobileNetV2 (Sandler et al. 2018, table 2), with the levels of TensorFlow's SSD.

    The first level is the output of block 12 after a 1x1 convolution to 576 channels, the second
    one that of the last convolution; at 300 px they have 19 and 10 cells per side.
    """

    channels = (576, 1280)

    def __init__(self, style: Style) -> None:
        super().__init__()
        self.stem = ConvNorm(3, 32, style, kernel_size=3, stride=2)
        self.blocks = nn.CellList(
            [InvertedResidual(block, style) for block in mobilenet_v2_blocks()]
        )
        self.branch = ConvNorm(96, 576, style, kernel_size=1, stride=1)
        self.last = ConvNorm(320, 1280, style, kernel_size=1, stride=1)

    def construct(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the feature maps at strides 16 and 32."""
        features = ops.relu6(self.stem(images))
        for block in self.blocks[: MOBILENET_V2_BRANCH + 1]:
            features = block(features)
        branch = ops.relu6(self.branch(features))
        for block in self.blocks[MOBILENET_V2_BRANCH + 1 :]:
            features = block(features)
        return branch, ops.relu6(self.last(features))


class InvertedResidual(nn.Cell):
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

    def construct(self, features: Tensor) -> Tensor:
        """Return [B, out_channels, H / stride, W / stride], rounded up."""
        expanded = ops.relu6(self.expand(features))
        projected = self.project(ops.relu6(self.depthwise(expanded)))
        return projected + features if self._is_residual else projected


class ExtraResidual(InvertedResidual):
    """An inverted residual that adds a coarser level, with an activation after its projection."""

    def construct(self, features: Tensor) -> Tensor:
        """Return the feature map of the next level."""
        return ops.relu6(super().construct(features))


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


class L2Norm(nn.Cell):
    """Scales each position's channels to a learned length (ParseNet, Liu et al. 2015)."""

    def __init__(self, num_channels: int, *, scale: float) -> None:
        super().__init__()
        self.scale = Parameter(ops.full((num_channels,), scale, dtype=ms.float32))

    def construct(self, features: Tensor) -> Tensor:
        """Return `features` normalised, in single precision: squares overflow half types."""
        features = features.astype(ms.float32)
        length = ops.sqrt((features * features).sum(axis=1, keepdims=True))
        return features / ops.maximum(length, 1e-12) * self.scale.view(1, -1, 1, 1)


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
