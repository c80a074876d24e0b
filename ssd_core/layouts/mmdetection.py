"""mmdetection's SSD300, SSD512 and SSDLite, `configs/ssd` of its versions 2 and 3."""

import re
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from ssd_core.config import PostprocessSpec, Recipe
from ssd_core.layouts.base import TORCH_ROLES, WeightLayout
from ssd_core.layouts.torchvision import number_vgg16
from ssd_core.networks import (
    EXTRAS,
    MOBILENET_V2,
    MOBILENET_V2_EXTRAS,
    mobilenet_v2_blocks,
)
from ssd_core.recipes.ssd300_vgg16 import ssd300_vgg16
from ssd_core.recipes.ssd512_vgg16 import ssd512_vgg16
from ssd_core.recipes.ssdlite320_mobilenet_v2 import ssdlite320_mobilenet_v2
from ssd_core.structures import Array


def use_new_names(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Return arrays by their names since version 2.14, which moved the extra layers to the neck."""
    return {_use_new_name(name): array for name, array in arrays.items()}


def _use_new_name(name: str) -> str:
    name = re.sub(r"^backbone\.l2_norm\.", "neck.l2_norm.", name)
    name = re.sub(r"^(bbox_head\.(?:cls|reg)_convs\.\d+)\.(weight|bias)$", r"\1.0.\2", name)
    if match := re.fullmatch(r"backbone\.extra\.(\d{1,3})\.(.+)", name):
        extra, place = divmod(int(match[1]), 2)
        return f"neck.extra_layers.{extra}.{place}.conv.{match[2]}"
    return name


def _move_background(boxes: Sequence[int], ours: str, array: Array) -> Array:
    """Move the background, the last class there, to the front; `boxes` of a cell, by level."""
    if not ours.startswith("heads.cls.") or ".depthwise." in ours:
        return array
    level = int(ours.split(".")[2])
    rows = array.reshape(boxes[level], -1, *array.shape[1:])
    return np.roll(rows, 1, axis=1).reshape(array.shape)


def _vgg16(num_extras: int) -> dict[str, str]:
    """Return the names of the layers."""
    layers = {
        f"backbone.{layer}": f"backbone.features.{place}" for layer, place in number_vgg16().items()
    }
    layers["backbone.conv4_3_norm.scale"] = "neck.l2_norm.weight"
    for extra in range(num_extras):
        for index in (1, 2):
            layers[f"extras.{extra}.conv{index}"] = f"neck.extra_layers.{extra}.{index - 1}.conv"
    for level in range(num_extras + 2):
        layers[f"heads.cls.{level}"] = f"bbox_head.cls_convs.{level}.0"
        layers[f"heads.bbox.{level}"] = f"bbox_head.reg_convs.{level}.0"
    return layers


def _mobilenet_v2() -> dict[str, str]:
    """Return the names of the layers of SSDLite, whose blocks are numbered in each stage."""
    layers = _pair("backbone.stem", "backbone.conv1") | _pair("backbone.last", "backbone.conv2")
    places = [
        f"backbone.layer{stage}.{index}"
        for stage, (_, _, count, _) in enumerate(MOBILENET_V2, 1)
        for index in range(count)
    ]
    for number, (block, place) in enumerate(zip(mobilenet_v2_blocks(), places, strict=True)):
        ours = f"backbone.blocks.{number}"
        if block.hidden != block.in_channels:
            layers |= _pair(f"{ours}.expand", f"{place}.expand_conv")
        layers |= _pair(f"{ours}.depthwise", f"{place}.depthwise_conv")
        layers |= _pair(f"{ours}.project", f"{place}.linear_conv")
    for extra in range(len(MOBILENET_V2_EXTRAS)):
        ours, theirs = f"extras.{extra}", f"neck.extra_layers.{extra}"
        layers |= _pair(f"{ours}.expand", f"{theirs}.0")
        layers |= _pair(f"{ours}.depthwise", f"{theirs}.1.depthwise_conv")
        layers |= _pair(f"{ours}.project", f"{theirs}.1.pointwise_conv")
    for level in range(len(MOBILENET_V2_EXTRAS) + 2):
        for ours, theirs in (("cls", "cls_convs"), ("bbox", "reg_convs")):
            head, place = f"heads.{ours}.{level}", f"bbox_head.{theirs}.{level}"
            layers |= _pair(f"{head}.depthwise", f"{place}.0") | {f"{head}.conv": f"{place}.1"}
    return layers


def _pair(ours: str, theirs: str) -> dict[str, str]:
    """Return the names of a convolution and its norm."""
    return {f"{ours}.conv": f"{theirs}.conv", f"{ours}.norm": f"{theirs}.bn"}


def _layout(recipe: Recipe, layers: dict[str, str]) -> WeightLayout:
    model = recipe.train.model
    return WeightLayout(
        layers=layers,
        roles=TORCH_ROLES,
        arrange=partial(_move_background, [len(level.shapes) for level in model.anchors]),
        model={
            "mean": model.mean,
            "std": model.std,
            "postprocess": PostprocessSpec(topk_candidates=0),
        },
    )


MMDETECTION = {
    "vgg16": _layout(ssd300_vgg16(), _vgg16(len(EXTRAS["vgg16"]))),
    "vgg16_512": _layout(ssd512_vgg16(), _vgg16(len(EXTRAS["vgg16_512"]))),
    "mobilenet_v2_plain": _layout(ssdlite320_mobilenet_v2(), _mobilenet_v2()),
}
