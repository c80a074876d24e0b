"""torchvision's SSD300 with VGG16 (`torchvision.models.detection.ssd300_vgg16`)."""

from ssd_core.config import PostprocessSpec
from ssd_core.layouts.base import (
    SSD300_EXTRAS,
    SSD300_LEVELS,
    VGG16_CONVOLUTIONS,
    WeightLayout,
    keep,
)
from ssd_core.recipes.anchors import paper_levels
from ssd_core.recipes.ssd300_vgg16 import SSD300_COCO_SIZES, SSD300_RATIOS, SSD300_STRIDES


def _vgg16() -> dict[str, str]:
    """Return the names of the layers; activations and pools count in the numbers."""
    layers = {
        "backbone.conv4_3_norm.scale": "backbone.scale_weight",
        "backbone.fc6": "backbone.extra.0.7.1",
        "backbone.fc7": "backbone.extra.0.7.3",
    }
    place = 0
    for stage, count in enumerate(VGG16_CONVOLUTIONS, 1):
        for index in range(count):
            last = stage == len(VGG16_CONVOLUTIONS)
            theirs = f"extra.0.{2 * index + 1}" if last else f"features.{place + 2 * index}"
            layers[f"backbone.conv{stage}_{index + 1}"] = f"backbone.{theirs}"
        place += 2 * count + 1
    for extra in range(SSD300_EXTRAS):
        for index in (1, 2):
            theirs = f"backbone.extra.{extra + 1}.{2 * (index - 1)}"
            layers[f"extras.{extra}.conv{index}"] = theirs
    for level in range(SSD300_LEVELS):
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
