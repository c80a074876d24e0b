"""The figures of each recipe, for `ssd recipes` and docs/recipes.md."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ssd_core.recipes import RECIPES, load_recipe


class Facts(NamedTuple):
    """Figures that a recipe does not have; a test computes the first three again."""

    anchors: int
    parameters: int
    """Of the network for 80 classes."""
    gflop: float
    """Of that network for one image; a multiply-add counts as two operations."""
    published: str = ""
    """AP on COCO of the source, with its name."""
    reproduced: str = ""
    """Measured here: AP, or outputs equal to those of another program with the same weights, or of
    its network, rebuilt in `tests/layouts/` from a description."""


_VGG16 = (8732, 34_305_206, 68.72)
_VGG16_512 = (24564, 36_038_196, 197.26)
_VGG16_MINDSPORE = Facts(
    7308, 24_305_589, 61.12, "0.232 MindSpore*", "outputs of rebuilt MindSpore"
)
FACTS = {
    "demo": Facts(
        5440, 1_980_304, 0.78, reproduced="AP50 0.88 to 0.90 on examples/bccd: make demo"
    ),
    "ssd300_vgg16": Facts(
        *_VGG16,
        "0.255 mmdetection, 0.251 torchvision",
        "outputs of torchvision, rebuilt mmdetection",
    ),
    "ssd300_vgg16_voc": Facts(*_VGG16),
    "ssd512_vgg16": Facts(*_VGG16_512, "0.295 mmdetection", "outputs of rebuilt mmdetection"),
    "ssd512_vgg16_voc": Facts(*_VGG16_512),
    "ssd300_vgg16_mindspore": _VGG16_MINDSPORE,
    "ssd300_vgg16_mindspore_gpu": _VGG16_MINDSPORE,
    "ssd300_mobilenet_v1": Facts(
        1917, 11_294_517, 2.60, "0.215 MindSpore*", "outputs of rebuilt MindSpore"
    ),
    "ssd300_mobilenet_v2": Facts(
        1917,
        4_393_461,
        1.51,
        "0.238 MindSpore*",
        "outputs of rebuilt MindSpore; outputs and AP of TensorFlow",
    ),
    "cells_mobilenet_v2": Facts(
        3948, 4_393_461, 3.18, reproduced="AP 0.58 on examples/bccd: docs/weights.md"
    ),
    "ssd300_resnet50": Facts(
        8732, 22_894_902, 40.30, "0.258 to 0.274 NVIDIA", "outputs of rebuilt NVIDIA"
    ),
    "ssdlite320_mobilenet_v2": Facts(
        3234, 4_228_788, 1.49, "0.213 mmdetection", "outputs of rebuilt mmdetection"
    ),
    "ssdlite320_mobilenet_v3": Facts(
        3234, 3_301_460, 1.13, "0.213 torchvision", "outputs of torchvision"
    ),
    "ssd640_mobilenet_v1_fpn": Facts(
        51150, 12_534_846, 121.28, "0.291 MindSpore*", "outputs of rebuilt MindSpore"
    ),
    "ssd640_resnet50_fpn": Facts(
        51150, 33_294_654, 180.21, "0.343 MindSpore*", "outputs of rebuilt MindSpore"
    ),
}
"""By recipe; MindSpore leaves out images with crowds (*)."""

TITLES = ("recipe", "parameters", "GFLOP", "anchors", "published AP", "reproduced here")


def describe_recipes() -> Iterator[dict[str, Any]]:
    """Yield name, description, figures and command for the training of each recipe."""
    for name in RECIPES:
        recipe = load_recipe(name)
        init = " --init WEIGHTS" if recipe.train.init.expected else ""
        yield {
            "recipe": name,
            "description": recipe.description,
            **FACTS[name]._asdict(),
            "command": f"ssd train --recipe {name}{init} --data DIR --out DIR",
        }


def format_figures(described: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the cells of a recipe below TITLES, with digits below digits."""
    return (
        described["recipe"],
        f"{described['parameters'] / 1e6:8.1f} M",
        f"{described['gflop']:5.1f}",
        f"{described['anchors']:7,}",
        described["published"],
        described["reproduced"],
    )
