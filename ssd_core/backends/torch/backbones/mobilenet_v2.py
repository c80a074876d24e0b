"""MobileNetV2 and the extra layers of SSDLite."""

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional

from ssd_core.backends.torch.backbones.layers import Backbone, ConvNorm
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
        self.blocks = nn.ModuleList(
            InvertedResidual(block, style) for block in mobilenet_v2_blocks()
        )
        if has_branch:
            self.branch = ConvNorm(96, 576, style, kernel_size=1, stride=1)
        self.last = ConvNorm(320, 1280, style, kernel_size=1, stride=1)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the feature maps at strides 16 and 32."""
        features = functional.relu6(self.stem(images))
        for index, block in enumerate(self.blocks):
            features = block(features)
            if index == MOBILENET_V2_BRANCH:
                first = functional.relu6(self.branch(features)) if self._has_branch else features
        return [first, functional.relu6(self.last(features))]


class InvertedResidual(nn.Module):
    """A 1x1 expansion, a depthwise convolution and a linear 1x1 projection.

    MobileNetV3 weighs the channels before the projection, by squeeze and excitation.
    """

    def __init__(self, block: Block, style: Style) -> None:
        super().__init__()
        in_channels, self.out_channels, hidden, stride, kernel_size, squeezed, activation = block
        self._activate: Callable[[Tensor], Tensor] = getattr(functional, activation)
        self._expands = hidden != in_channels
        if self._expands:
            self.expand = ConvNorm(in_channels, hidden, style, kernel_size=1, stride=1)
        self.depthwise = ConvNorm(
            hidden, hidden, style, kernel_size=kernel_size, stride=stride, groups=hidden
        )
        self._squeezes = squeezed > 0
        if self._squeezes:
            self.squeeze = nn.Conv2d(hidden, squeezed, 1)
            self.excite = nn.Conv2d(squeezed, hidden, 1)
        self.project = ConvNorm(hidden, self.out_channels, style, kernel_size=1, stride=1)
        self._is_residual = stride == 1 and in_channels == self.out_channels

    def forward(self, features: Tensor) -> Tensor:
        """Return [B, out_channels, H / stride, W / stride], rounded up."""
        projected = self.reduce(self.widen(features))
        return projected + features if self._is_residual else projected

    def widen(self, features: Tensor) -> Tensor:
        """Return [B, hidden, H, W]."""
        return self._activate(self.expand(features)) if self._expands else features

    def reduce(self, expanded: Tensor) -> Tensor:
        """Return the output of the projection for that of `widen`."""
        features = self._activate(self.depthwise(expanded))
        if self._squeezes:
            means = functional.relu(self.squeeze(features.mean(dim=(2, 3), keepdim=True)))
            features = features * functional.hardsigmoid(self.excite(means))
        projected: Tensor = self.project(features)
        return projected


class ExtraResidual(InvertedResidual):
    """An inverted residual that adds a coarser level, with an activation after its projection."""

    def forward(self, features: Tensor) -> Tensor:
        """Return the feature map of the next level."""
        return functional.relu6(super().forward(features))


def build_mobilenet_v2(
    design: Design, *, has_branch: bool
) -> tuple[MobileNetV2, list[ExtraResidual]]:
    """Return the network of TensorFlow's SSDLite and of its port to MindSpore, or mmdetection's.

    At 300 px the extra levels have 5, 3, 2 and 1 cells per side.
    """
    extras = [ExtraResidual(block, design.heads) for block in MOBILENET_V2_EXTRAS]
    return MobileNetV2(design.backbone, has_branch=has_branch), extras
