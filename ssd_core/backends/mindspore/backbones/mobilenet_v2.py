"""MobileNetV2 and the extra layers of SSDLite."""

from mindspore import Tensor, nn, ops

from ssd_core.backends.mindspore.backbones.layers import Backbone, ConvNorm
from ssd_core.networks import (
    MOBILENET_V2_BRANCH,
    MOBILENET_V2_EXTRAS,
    Block,
    Design,
    Style,
    mobilenet_v2_blocks,
)


class MobileNetV2(Backbone):
    """MobileNetV2 (Sandler et al. 2018, table 2), with the levels of TensorFlow's SSD.

    The first level is the output of block 12 after a 1x1 convolution to 576 channels, the second
    one that of the last convolution; at 300 px they have 19 and 10 cells per side. Without that
    branch (mmdetection) the first level is the output of block 12 itself.
    """

    def __init__(self, style: Style, *, has_branch: bool) -> None:
        super().__init__()
        self.channels = (576 if has_branch else 96, 1280)
        self._has_branch = has_branch
        self.stem = ConvNorm(3, 32, style, kernel_size=3, stride=2)
        self.blocks = nn.CellList(
            [InvertedResidual(block, style) for block in mobilenet_v2_blocks()]
        )
        if has_branch:
            self.branch = ConvNorm(96, 576, style, kernel_size=1, stride=1)
        self.last = ConvNorm(320, 1280, style, kernel_size=1, stride=1)

    def construct(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the feature maps at strides 16 and 32."""
        features = ops.relu6(self.stem(images))
        for block in self.blocks[: MOBILENET_V2_BRANCH + 1]:
            features = block(features)
        first = ops.relu6(self.branch(features)) if self._has_branch else features
        for block in self.blocks[MOBILENET_V2_BRANCH + 1 :]:
            features = block(features)
        return first, ops.relu6(self.last(features))


class InvertedResidual(nn.Cell):
    """A 1x1 expansion, a depthwise 3x3 convolution and a linear 1x1 projection."""

    def __init__(self, block: Block, style: Style) -> None:
        super().__init__()
        in_channels, self.out_channels, hidden, stride = block[:4]
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


def build_mobilenet_v2(
    design: Design, *, has_branch: bool
) -> tuple[MobileNetV2, list[ExtraResidual]]:
    """Return the network of TensorFlow's SSDLite and of its port to MindSpore, or mmdetection's.

    At 300 px the extra levels have 5, 3, 2 and 1 cells per side.
    """
    extras = [ExtraResidual(block, design.heads) for block in MOBILENET_V2_EXTRAS]
    return MobileNetV2(design.backbone, has_branch=has_branch), extras
