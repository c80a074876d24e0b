"""torchvision's SSD300 with VGG16 (`torchvision.models.detection.ssd300_vgg16`)."""

from ssd_core.config import PostprocessSpec
from ssd_core.layouts.base import WeightLayout, keep
from ssd_core.networks import EXTRAS, VGG16
from ssd_core.recipes.anchors import paper_levels
from ssd_core.recipes.ssd300_vgg16 import SSD300_COCO_SIZES, SSD300_RATIOS, SSD300_STRIDES

_POOL4, _POOL5 = 23, 30
"""The places in VGG16 at which SSD300 begins another cell."""


def number_vgg16() -> dict[str, int]:
    """Return the place of each convolution in VGG16; activations and pools count too."""
    places, place = {}, 0
    for stage, widths in VGG16.items():
        for index in range(1, len(widths) + 1):
            places[f"conv{stage}_{index}"] = place
            place += 2
        place += 1
    return places | {"fc6": place, "fc7": place + 2}


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
    for level in range(len(SSD300_STRIDES)):
        for ours, theirs in (("cls", "classification"), ("bbox", "regression")):
            layers[f"heads.{ours}.{level}"] = f"head.{theirs}_head.module_list.{level}"
    return layers


TORCHVISION = {
    "vgg16": WeightLayout(
        layers=_vgg16(),
        roles={},
        prefix="",
        arrange=keep,
        model={
            "mean": (0.48235 * 255, 0.45882 * 255, 0.40784 * 255),
            "std": (1.0, 1.0, 1.0),
            "anchors": paper_levels(
                strides=SSD300_STRIDES, sizes=SSD300_COCO_SIZES, ratios=SSD300_RATIOS, limit=300
            ),
            "postprocess": PostprocessSpec(score_threshold=0.01),
        },
    )
}
