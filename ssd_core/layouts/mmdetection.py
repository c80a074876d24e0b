"""mmdetection's SSD300 and SSD512 with VGG16, `configs/ssd` of its versions 2 and 3."""

import re
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from ssd_core.config import PostprocessSpec, Recipe
from ssd_core.layouts.base import WeightLayout
from ssd_core.layouts.torchvision import number_vgg16
from ssd_core.networks import EXTRAS
from ssd_core.recipes.ssd300_vgg16 import ssd300_vgg16
from ssd_core.recipes.ssd512_vgg16 import ssd512_vgg16
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
    if not ours.startswith("heads.cls."):
        return array
    level = int(ours.split(".")[2])
    rows = array.reshape(boxes[level], -1, *array.shape[1:])
    return np.roll(rows, 1, axis=1).reshape(array.shape)


def _layers(num_extras: int) -> dict[str, str]:
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


def _layout(recipe: Recipe) -> WeightLayout:
    model = recipe.train.model
    return WeightLayout(
        layers=_layers(len(EXTRAS[model.backbone])),
        roles={},
        prefix="",
        arrange=partial(_move_background, [len(level.shapes) for level in model.anchors]),
        model={
            "mean": (123.675, 116.28, 103.53),
            "std": (1.0, 1.0, 1.0),
            "postprocess": PostprocessSpec(topk_candidates=0),
        },
    )


MMDETECTION = {"vgg16": _layout(ssd300_vgg16()), "vgg16_512": _layout(ssd512_vgg16())}
