"""NVIDIA's SSD300 v1.1 with ResNet-50 (`PyTorch/Detection/SSD` of its DeepLearningExamples)."""

from ssd_core.layouts.base import TORCH_ROLES, WeightLayout
from ssd_core.layouts.torchvision import name_resnet50
from ssd_core.networks import EXTRAS
from ssd_core.recipes.ssd300_resnet50 import ssd300_resnet50
from ssd_core.structures import Array

_BODY = "feature_extractor.feature_extractor"


def _layers() -> dict[str, str]:
    layers = name_resnet50(f"{_BODY}.0", f"{_BODY}.1", [f"{_BODY}.{place}" for place in (4, 5, 6)])
    for extra in range(len(EXTRAS["resnet50"])):
        for part, place in (("first", 0), ("second", 3)):
            ours, theirs = f"extras.{extra}.{part}", f"additional_blocks.{extra}"
            layers[f"{ours}.conv"] = f"{theirs}.{place}"
            layers[f"{ours}.norm"] = f"{theirs}.{place + 1}"
    for level in range(len(_BOXES)):
        layers |= {f"heads.cls.{level}": f"conf.{level}", f"heads.bbox.{level}": f"loc.{level}"}
    return layers


_BOXES = [len(level.shapes) for level in ssd300_resnet50().train.model.anchors]
"""Anchors of a cell, by level."""


def _arrange_heads(ours: str, array: Array) -> Array:
    """Order the outputs of a head by anchor and then by class or offset: it is opposite there."""
    if not ours.startswith("heads."):
        return array
    boxes = _BOXES[int(ours.split(".")[2])]
    return array.reshape(-1, boxes, *array.shape[1:]).swapaxes(0, 1).reshape(array.shape)


NVIDIA = {
    "resnet50": WeightLayout(
        layers=_layers(), roles=TORCH_ROLES, prefix="module.", arrange=_arrange_heads
    )
}
