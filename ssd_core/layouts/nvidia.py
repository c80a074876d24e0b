"""NVIDIA's SSD300 v1.1 with ResNet-50 (`PyTorch/Detection/SSD` of its DeepLearningExamples)."""

from collections.abc import Sequence

from ssd_core.layouts.base import TORCH_ROLES, WeightLayout, norm_pair
from ssd_core.networks import EXTRAS, RESNET50
from ssd_core.recipes.ssd300_resnet50 import ssd300_resnet50
from ssd_core.structures import Array

_BODY = "feature_extractor.feature_extractor"


def name_resnet50(stem: str, norm: str, stages: Sequence[str]) -> dict[str, str]:
    """Return the names of torchvision's layers, which begin with those of these parts."""
    layers = {"backbone.stem.conv": stem, "backbone.stem.norm": norm}
    for theirs, (stage, (_, count)) in zip(stages, RESNET50.items(), strict=True):
        ours = f"backbone.conv{stage}"
        for block in range(count):
            for number, part in enumerate(("first", "second", "third"), 1):
                layers[f"{ours}.{block}.{part}.conv"] = f"{theirs}.{block}.conv{number}"
                layers[f"{ours}.{block}.{part}.norm"] = f"{theirs}.{block}.bn{number}"
        layers |= norm_pair(f"{ours}.0.shortcut", f"{theirs}.0.downsample")
    return layers


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
