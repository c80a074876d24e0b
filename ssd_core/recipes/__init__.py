"""Named complete configurations.

To add one, write a function that returns a `Recipe` and list it in RECIPES; see `docs/recipes.md`.
"""

from collections.abc import Callable

from ssd_core.config import Recipe
from ssd_core.errors import unknown_name
from ssd_core.recipes.cells_mobilenet_v2 import cells_mobilenet_v2
from ssd_core.recipes.demo import demo
from ssd_core.recipes.ssd300_mobilenet_v1 import ssd300_mobilenet_v1
from ssd_core.recipes.ssd300_mobilenet_v2 import ssd300_mobilenet_v2
from ssd_core.recipes.ssd300_resnet50 import ssd300_resnet50
from ssd_core.recipes.ssd300_vgg16 import ssd300_vgg16
from ssd_core.recipes.ssd300_vgg16_mindspore import (
    ssd300_vgg16_mindspore,
    ssd300_vgg16_mindspore_gpu,
)
from ssd_core.recipes.ssd512_vgg16 import ssd512_vgg16
from ssd_core.recipes.ssd640_fpn import ssd640_mobilenet_v1_fpn, ssd640_resnet50_fpn
from ssd_core.recipes.ssd_vgg16_voc import ssd300_vgg16_voc, ssd512_vgg16_voc
from ssd_core.recipes.ssdlite320_mobilenet_v2 import ssdlite320_mobilenet_v2
from ssd_core.recipes.ssdlite320_mobilenet_v3 import ssdlite320_mobilenet_v3

RECIPES: dict[str, Callable[[], Recipe]] = {
    "demo": demo,
    "ssd300_vgg16": ssd300_vgg16,
    "ssd300_vgg16_voc": ssd300_vgg16_voc,
    "ssd512_vgg16": ssd512_vgg16,
    "ssd512_vgg16_voc": ssd512_vgg16_voc,
    "ssd300_vgg16_mindspore": ssd300_vgg16_mindspore,
    "ssd300_vgg16_mindspore_gpu": ssd300_vgg16_mindspore_gpu,
    "ssd300_mobilenet_v1": ssd300_mobilenet_v1,
    "ssd300_mobilenet_v2": ssd300_mobilenet_v2,
    "cells_mobilenet_v2": cells_mobilenet_v2,
    "ssd300_resnet50": ssd300_resnet50,
    "ssdlite320_mobilenet_v2": ssdlite320_mobilenet_v2,
    "ssdlite320_mobilenet_v3": ssdlite320_mobilenet_v3,
    "ssd640_mobilenet_v1_fpn": ssd640_mobilenet_v1_fpn,
    "ssd640_resnet50_fpn": ssd640_resnet50_fpn,
}


def load_recipe(name: str) -> Recipe:
    """Return a recipe by its name."""
    if name not in RECIPES:
        raise unknown_name("recipe", name, RECIPES)
    return RECIPES[name]()
