"""torchvision's detectors `ssd300_vgg16` and `ssdlite320_mobilenet_v3_large`."""

from collections.abc import Iterator, Sequence

from ssd_core.config import PostprocessSpec
from ssd_core.layouts.base import TORCH_ROLES, WeightLayout, norm_pair
from ssd_core.networks import (
    EXTRAS,
    MOBILENET_V3_BRANCH,
    MOBILENET_V3_EXTRAS,
    RESNET50,
    VGG16,
    mobilenet_v3_blocks,
)
from ssd_core.recipes.anchors import paper_levels
from ssd_core.recipes.ssd300_vgg16 import SSD300_COCO_SIZES, SSD300_RATIOS, SSD300_STRIDES

_POOL4, _POOL5 = 23, 30
"""The places in VGG16 at which SSD300 begins another cell."""
_LEVELS = 6
"""Of both networks."""


def number_vgg16() -> dict[str, int]:
    """Return the place of each convolution in VGG16; activations and pools count too."""
    places, place = {}, 0
    for stage, widths in VGG16.items():
        for index in range(1, len(widths) + 1):
            places[f"conv{stage}_{index}"] = place
            place += 2
        place += 1
    return places | {"fc6": place, "fc7": place + 2}


def name_resnet50(stem: str, norm: str, stages: Sequence[str]) -> dict[str, str]:
    """Return the names of torchvision's layers in a stem, its norm and the first stages."""
    layers = {"backbone.stem.conv": stem, "backbone.stem.norm": norm}
    for theirs, (stage, (_, count)) in zip(stages, RESNET50.items(), strict=False):
        ours = f"backbone.conv{stage}"
        for block in range(count):
            for number, part in enumerate(("first", "second", "third"), 1):
                layers[f"{ours}.{block}.{part}.conv"] = f"{theirs}.{block}.conv{number}"
                layers[f"{ours}.{block}.{part}.norm"] = f"{theirs}.{block}.bn{number}"
        layers |= norm_pair(f"{ours}.0.shortcut", f"{theirs}.0.downsample")
    return layers


def _vgg16() -> dict[str, str]:
    """Return the names of the layers."""
    layers = {"backbone.conv4_3_norm.scale": "backbone.scale_weight"}
    for layer, place in number_vgg16().items():
        if place < _POOL4:
            theirs = f"features.{place}"
        elif place < _POOL5:
            theirs = f"extra.0.{place - _POOL4}"
        else:
            theirs = f"extra.0.7.{place - _POOL5}"
        layers[f"backbone.{layer}"] = f"backbone.{theirs}"
    for extra in range(len(EXTRAS["vgg16"])):
        for index in (1, 2):
            theirs = f"backbone.extra.{extra + 1}.{2 * (index - 1)}"
            layers[f"extras.{extra}.conv{index}"] = theirs
    return layers | dict(_heads())


def _mobilenet_v3() -> dict[str, str]:
    """Return the names of the layers; another cell begins behind the expansion of one block."""
    layers = norm_pair("backbone.stem", "backbone.features.0.0")
    for index, block in enumerate(mobilenet_v3_blocks()):
        ours, place = f"backbone.blocks.{index}", index - MOBILENET_V3_BRANCH
        cell = f"0.{index + 1}.block" if place < 0 else f"1.{place}.block" if place else "1.0"
        parts = ["expand", "depthwise", "squeeze", "project"]
        if block.hidden == block.in_channels:
            parts.remove("expand")
        if not block.squeezed:
            parts.remove("squeeze")
        for number, part in enumerate(parts):
            theirs = f"backbone.features.{cell}.{number}"
            if part == "squeeze":
                layers |= {f"{ours}.squeeze": f"{theirs}.fc1", f"{ours}.excite": f"{theirs}.fc2"}
            else:
                layers |= norm_pair(f"{ours}.{part}", theirs)
    expand = f"backbone.blocks.{MOBILENET_V3_BRANCH}.expand"
    layers |= norm_pair(expand, f"backbone.features.0.{MOBILENET_V3_BRANCH + 1}")
    layers |= norm_pair("backbone.last", "backbone.features.1.3")
    for extra in range(len(MOBILENET_V3_EXTRAS)):
        for number, part in enumerate(("expand", "depthwise", "project")):
            layers |= norm_pair(f"extras.{extra}.{part}", f"backbone.extra.{extra}.{number}")
    for ours, theirs in _heads():
        layers |= norm_pair(f"{ours}.depthwise", f"{theirs}.0") | {f"{ours}.conv": f"{theirs}.1"}
    return layers


def _heads() -> Iterator[tuple[str, str]]:
    """Yield our name and theirs of each head."""
    for level in range(_LEVELS):
        for ours, theirs in (("cls", "classification"), ("bbox", "regression")):
            yield f"heads.{ours}.{level}", f"head.{theirs}_head.module_list.{level}"


TORCHVISION = {
    "vgg16": WeightLayout(
        layers=_vgg16(),
        model={
            "mean": (0.48235 * 255, 0.45882 * 255, 0.40784 * 255),
            "std": (1.0, 1.0, 1.0),
            "anchors": paper_levels(
                strides=SSD300_STRIDES, sizes=SSD300_COCO_SIZES, ratios=SSD300_RATIOS, limit=300
            ),
            "postprocess": PostprocessSpec(score_threshold=0.01),
        },
    ),
    "mobilenet_v3": WeightLayout(layers=_mobilenet_v3(), roles=TORCH_ROLES),
}

_VGG16 = WeightLayout(
    layers={f"backbone.{layer}": str(place) for layer, place in number_vgg16().items()},
    prefix="features.",
)
CLASSIFIERS = {
    **dict.fromkeys(("vgg16", "vgg16_512", "vgg16_linear"), _VGG16),
    "resnet50": WeightLayout(
        layers=name_resnet50("conv1", "bn1", ("layer1", "layer2", "layer3")),
        roles=TORCH_ROLES,
    ),
}
"""Its networks for classification, by backbone. The first programs of SSD numbered the layers of
VGG16 without the prefix, with the convolutions fc6 and fc7 behind them."""
