"""The dimensions of the networks, which every framework builds from its own layers."""

import math
from collections.abc import Iterator
from typing import NamedTuple

from ssd_core.config import ModelConfig, NormSpec
from ssd_core.detection.anchors import feature_sizes
from ssd_core.errors import UsageError


class Style(NamedTuple):
    """How the layers of a network normalise and pad."""

    norm: NormSpec
    padding: str
    """`symmetric` or `same`, see `ModelConfig.padding`."""


class Design(NamedTuple):
    """The requirements of a model on its backbone, its extra layers and its heads."""

    backbone: Style
    heads: Style
    """Also of the extra layers."""
    has_pyramid: bool

    @classmethod
    def of(cls, config: ModelConfig) -> "Design":
        """Return the design of a model."""
        return cls(
            backbone=Style(config.norm, config.padding),
            heads=Style(config.head_norm or config.norm, config.padding),
            has_pyramid=config.pyramid is not None,
        )


RESNET50 = {2: (256, 3), 3: (512, 4), 4: (1024, 6), 5: (2048, 3)}
"""Channels and blocks of each stage (He et al. 2015, table 1)."""

VGG16 = {1: (64, 64), 2: (128, 128), 3: (256,) * 3, 4: (512,) * 3, 5: (512,) * 3}
"""Channels of the convolutions in each stage (Simonyan and Zisserman 2014, configuration D)."""


class Extra(NamedTuple):
    """The second convolution of an extra layer; the first one is 1x1 with half of its channels."""

    out_channels: int
    kernel_size: int
    stride: int
    padding: int


_HALVES = Extra(256, 3, 2, 1)
_UNPADDED = Extra(256, 3, 1, 0)
_PAPER_EXTRAS = (Extra(512, 3, 2, 1), _HALVES, _UNPADDED, _UNPADDED)
EXTRAS = {
    "vgg16": _PAPER_EXTRAS,
    "vgg16_linear": _PAPER_EXTRAS,
    "vgg16_512": (Extra(512, 3, 2, 1), _HALVES, _HALVES, _HALVES, Extra(256, 4, 1, 1)),
    "resnet50": (Extra(512, 3, 2, 1), Extra(512, 3, 2, 1), _HALVES, _UNPADDED, _UNPADDED),
}
"""The extra layers by backbone: SSD paper, figure 2 and section 3.4 (512 px), and NVIDIA's."""

DROPOUT_STRIDE = -1640531535
DROPOUT_ROUNDS = 3
"""The random numbers of dropout: an image's seed + position * stride, then x = x * (2 * x + 1) so
many times, all in 32 bits; a negative one drops the value. The seed is that of the image's pixels,
so a mask depends on nothing else: not on the step, the batch, the ranks or the framework."""

MOBILENET_V2 = (
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
    """A residual block: an inverted one, which expands its input, or a bottleneck."""

    in_channels: int
    out_channels: int
    hidden: int
    stride: int
    kernel_size: int = 3
    """Of the depthwise convolution."""
    squeezed: int = 0
    """Channels between squeeze and excitation (Hu et al. 2018); 0 for neither."""
    activation: str = "relu6"
    """A function of the frameworks."""


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
    for expansion, channels, count, stride in MOBILENET_V2:
        for index in range(count):
            yield Block(in_channels, channels, in_channels * expansion, 1 if index else stride)
            in_channels = channels


_MOBILENET_V3 = (
    (16, 3, 16, 0, "relu", 1),
    (24, 3, 64, 0, "relu", 2),
    (24, 3, 72, 0, "relu", 1),
    (40, 5, 72, 24, "relu", 2),
    (40, 5, 120, 32, "relu", 1),
    (40, 5, 120, 32, "relu", 1),
    (80, 3, 240, 0, "hardswish", 2),
    (80, 3, 200, 0, "hardswish", 1),
    (80, 3, 184, 0, "hardswish", 1),
    (80, 3, 184, 0, "hardswish", 1),
    (112, 3, 480, 120, "hardswish", 1),
    (112, 3, 672, 168, "hardswish", 1),
    (80, 5, 672, 168, "hardswish", 2),
    (80, 5, 480, 120, "hardswish", 1),
    (80, 5, 480, 120, "hardswish", 1),
)
"""Channels, kernel, hidden and squeezed channels, activation and stride of each block of the large
network (Howard et al. 2019, table 1); the last three have half of the channels, as section 6.3 has
them for detection."""

MOBILENET_V3_BRANCH = 12
"""The block whose expansion, with a cell per 16 pixels, is the first level of the detector."""

MOBILENET_V3_EXTRAS = (Block(480, 512, 256, 2), *MOBILENET_V2_EXTRAS[1:])


def mobilenet_v3_blocks() -> Iterator[Block]:
    """Yield the 15 inverted residuals that follow the stem of 16 channels."""
    in_channels = 16
    for channels, kernel_size, hidden, squeezed, activation, stride in _MOBILENET_V3:
        yield Block(in_channels, channels, hidden, stride, kernel_size, squeezed, activation)
        in_channels = channels


MOBILENET_V1 = (
    *((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)),
    *((512, 1),) * 5,
    *((1024, 2), (1024, 1)),
)
"""Channels and stride of each separable block (Howard et al. 2017, table 1)."""

MOBILENET_V1_LEVELS = (6, 12)
MOBILENET_V1_PYRAMID = (4, 10, 12)
"""The blocks whose outputs are the levels of MindSpore's detectors, without and with a pyramid."""

MOBILENET_V1_EXTRAS = (512, 256, 256, 128)
"""Channels of the 3x3 convolutions that halve the last level again and again."""

PYRAMIDS = ("mobilenet_v1", "resnet50_conv5")
"""Backbones whose levels of strides 8, 16 and 32 feed a pyramid."""

PYRAMID_INPUTS = 3
"""Levels of these backbones; coarser ones follow from the last."""

TOWER_DEPTH = 4
"""Convolutions of a shared head before its last one (Lin et al. 2017, section 4)."""


_ONLY_PADDING = {
    "vgg16": "symmetric",
    "vgg16_512": "symmetric",
    "vgg16_linear": "same",
    "resnet50": "symmetric",
}
"""Of backbones that implement one way of padding; the others implement both."""


_VGG16_STAGES = tuple(
    (pattern,) for pattern in ("conv1_*", "conv2_*", "conv3_*", "conv4_*", "conv5_*", "fc[67].*")
)
_MOBILENET_V2_STAGES = (
    ("stem.*", "blocks.0.*"),
    ("blocks.[12].*",),
    ("blocks.[345].*",),
    ("blocks.[6-9].*", "blocks.1[0-2].*"),
    ("blocks.1[3-6].*", "branch.*", "last.*"),
)
STAGES: dict[str, tuple[tuple[str, ...], ...]] = {
    "vgg16": _VGG16_STAGES,
    "vgg16_512": _VGG16_STAGES,
    "vgg16_linear": _VGG16_STAGES,
    "residual": (("stem.*",), *((f"blocks.{index}.*",) for index in range(5))),
    "mobilenet_v1": (
        ("stem.*", "blocks.0.*"),
        ("blocks.[12].*",),
        ("blocks.[34].*",),
        ("blocks.[5-9].*", "blocks.10.*"),
        ("blocks.1[12].*",),
    ),
    "mobilenet_v2": _MOBILENET_V2_STAGES,
    "mobilenet_v2_plain": _MOBILENET_V2_STAGES,
    "mobilenet_v3": (
        ("stem.*", "blocks.0.*"),
        ("blocks.[12].*",),
        ("blocks.[345].*",),
        ("blocks.[6-9].*", "blocks.1[01].*"),
        ("blocks.1[2-4].*", "last.*"),
    ),
    "resnet50": (("stem.*",), ("conv2.*",), ("conv3.*",), ("conv4.*",)),
    "resnet50_conv5": (("stem.*",), *((f"conv{stage}.*",) for stage in RESNET50)),
}
"""The layers of each stage of a backbone, from the image on, with wildcards."""


def level_sides(config: ModelConfig) -> tuple[int, ...]:
    """Return the cells per side of each level of a network."""
    backbone, side = config.backbone, config.image_size
    if config.pyramid:
        return tuple(math.ceil(side / 8 / 2**level) for level in range(len(config.anchors)))
    match backbone:
        case "vgg16" | "vgg16_512" | "vgg16_linear":
            conv4_3 = math.ceil((side / 4 if backbone == "vgg16_linear" else side // 4) / 2)
            sides = [conv4_3, math.ceil(conv4_3 / 2)]
        case "resnet50":
            sides = [math.ceil(side / 8)]
        case "residual":
            sides = [math.ceil(side / 2**halvings) for halvings in range(3, 7)]
        case _:
            sides = [math.ceil(side / 2**halvings) for halvings in range(4, 10)]
    for _, kernel_size, stride, padding in EXTRAS.get(backbone, ()):
        sides.append((sides[-1] + 2 * padding - kernel_size) // stride + 1)
    return tuple(sides)


def check_model(config: ModelConfig) -> None:
    """Check that a network can be built as it is configured.

    Raises:
        UsageError: its parts do not fit each other, or its levels do not fit the anchors.
    """
    _check_pyramid(config)
    padding = _ONLY_PADDING.get(config.backbone, config.padding)
    if config.padding != padding:
        raise UsageError(
            f"model.padding: backbone '{config.backbone}' does not implement '{config.padding}'; "
            f"use '{padding}'"
        )
    found = level_sides(config)
    expected = feature_sizes(config.anchors, config.image_size)
    if found != expected:
        raise UsageError(
            f"model.anchors: backbone '{config.backbone}' at {config.image_size} px has feature "
            f"maps of {found} cells per side, the strides of the anchors give {expected}"
        )


def _check_pyramid(config: ModelConfig) -> None:
    """Check that a pyramid stands between a backbone for one and heads of their own or shared."""
    if config.pyramid and config.backbone not in PYRAMIDS:
        raise UsageError(
            f"model.pyramid: backbone '{config.backbone}' has no levels for one; use "
            f"{' or '.join(PYRAMIDS)}, or pyramid null"
        )
    if config.pyramid is None and config.backbone == "resnet50_conv5":
        raise UsageError(
            "model.backbone: 'resnet50_conv5' has no extra layers; set model.pyramid={}"
        )
    if config.pyramid and len(config.anchors) < PYRAMID_INPUTS:
        raise UsageError(
            f"model.anchors: a pyramid has at least {PYRAMID_INPUTS} levels, got "
            f"{len(config.anchors)}; add levels, or set model.pyramid null"
        )
    counts = {len(level.shapes) for level in config.anchors}
    if config.head == "shared" and (config.pyramid is None or len(counts) > 1):
        raise UsageError(
            "model.head: a shared head needs levels of equal channels and equally many shapes; set "
            "model.pyramid={} and such anchors, or another head"
        )
