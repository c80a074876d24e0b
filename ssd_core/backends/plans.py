"""The dimensions of the networks, which every framework builds from its own layers."""

from collections.abc import Iterator
from typing import NamedTuple

from ssd_core.config import ModelConfig, NormSpec


class Style(NamedTuple):
    """How the layers of a network normalise and pad."""

    norm: NormSpec
    padding: str
    """`symmetric` or `same`, see `ModelConfig.padding`."""

    @classmethod
    def of(cls, config: ModelConfig) -> "Style":
        """Return the style of a model."""
        return cls(config.norm, config.padding)


VGG16 = {1: (64, 64), 2: (128, 128), 3: (256,) * 3, 4: (512,) * 3, 5: (512,) * 3}
"""Channels of the convolutions in each stage (Simonyan and Zisserman 2014, configuration D)."""

VGG16_EXTRAS = ((512, 2, 1), (256, 2, 1), (256, 1, 0), (256, 1, 0))
"""Channels, stride and padding of the extra layers at 300 px (SSD paper, figure 2)."""

_MOBILENET_V2 = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""Expansion, channels, number of blocks and stride of the first (Sandler et al. 2018, table 2)."""

MOBILENET_V2_BRANCH = 12
"""The last block whose output has a cell per 16 pixels: the first level of the detector."""


class Block(NamedTuple):
    """An inverted residual."""

    in_channels: int
    out_channels: int
    hidden: int
    stride: int


MOBILENET_V2_EXTRAS = (
    Block(1280, 512, 256, 2),
    Block(512, 256, 128, 2),
    Block(256, 256, 128, 2),
    Block(256, 128, 64, 2),
)
"""The extra layers of TensorFlow's SSDLite and of its port to MindSpore."""


def mobilenet_v2_blocks() -> Iterator[Block]:
    """Yield the 17 inverted residuals that follow the stem of 32 channels."""
    in_channels = 32
    for expansion, channels, count, stride in _MOBILENET_V2:
        for index in range(count):
            yield Block(in_channels, channels, in_channels * expansion, 1 if index else stride)
            in_channels = channels
