"""MobileNetV3 with the levels of torchvision's SSDLite."""

from collections.abc import Iterable
from typing import cast

from torch import Tensor, nn
from torch.nn import functional

from ssd_core.backends.torch.backbones.layers import Backbone, ConvNorm
from ssd_core.backends.torch.backbones.mobilenet_v2 import ExtraResidual, InvertedResidual
from ssd_core.networks import (
    MOBILENET_V3_BRANCH,
    MOBILENET_V3_EXTRAS,
    Design,
    Style,
    mobilenet_v3_blocks,
)


class MobileNetV3(Backbone):
    """The large MobileNetV3 with a narrow end (Howard et al. 2019, table 1 and section 6.3).

    The first level is the expansion in block 12, the second one the output of the last
    convolution; at 320 px they have 20 and 10 cells per side.
    """

    channels = (672, 480)

    def __init__(self, style: Style) -> None:
        super().__init__()
        self.stem = ConvNorm(3, 16, style, kernel_size=3, stride=2)
        self.blocks = nn.ModuleList(
            InvertedResidual(block, style) for block in mobilenet_v3_blocks()
        )
        self.last = ConvNorm(80, 480, style, kernel_size=1, stride=1)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the feature maps at strides 16 and 32."""
        features = functional.hardswish(self.stem(images))
        for index, block in enumerate(cast("Iterable[InvertedResidual]", self.blocks)):
            if index == MOBILENET_V3_BRANCH:
                branch = block.widen(features)  # it has no shortcut
                features = block.reduce(branch)
            else:
                features = block(features)
        return [branch, functional.hardswish(self.last(features))]


def build_mobilenet_v3(design: Design) -> tuple[MobileNetV3, list[ExtraResidual]]:
    """Return the network of torchvision's SSDLite.

    At 320 px the extra levels have 5, 3, 2 and 1 cells per side.
    """
    extras = [ExtraResidual(block, design.heads) for block in MOBILENET_V3_EXTRAS]
    return MobileNetV3(design.backbone), extras
