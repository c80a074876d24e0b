"""SSD300 and SSD512 with VGG16 for Pascal VOC, whose objects are larger than those of COCO.

Source: SSD paper, section 3.1; mmdetection `configs/pascal_voc/ssd300_voc0712.py`, `ssd512_…`.
"""

from ssd_core.config import AnchorLevel, EvaluateConfig, Recipe
from ssd_core.recipes.anchors import paper_levels
from ssd_core.recipes.derive import derive
from ssd_core.recipes.ssd300_vgg16 import SSD300_RATIOS, SSD300_STRIDES, ssd300_vgg16
from ssd_core.recipes.ssd512_vgg16 import SSD512_RATIOS, SSD512_STRIDES, ssd512_vgg16

SSD300_VOC_SIZES = (30, 60, 111, 162, 213, 264, 315)
SSD512_VOC_SIZES = (35, 76, 153, 230, 307, 384, 460, 537)


def ssd300_vgg16_voc() -> Recipe:
    """Return the paper's SSD300 for VOC: 240 epochs, half the learning rate of COCO."""
    anchors = paper_levels(strides=SSD300_STRIDES, sizes=SSD300_VOC_SIZES, ratios=SSD300_RATIOS)
    return _for_voc(ssd300_vgg16(), anchors)


def ssd512_vgg16_voc() -> Recipe:
    """Return the paper's SSD512 for VOC, trained like SSD300."""
    anchors = paper_levels(strides=SSD512_STRIDES, sizes=SSD512_VOC_SIZES, ratios=SSD512_RATIOS)
    return _for_voc(ssd512_vgg16(), anchors)


def _for_voc(base: Recipe, anchors: tuple[AnchorLevel, ...]) -> Recipe:
    recipe = derive(
        base,
        name=f"{base.name}_voc",
        description=base.description.replace(" px", " px, for Pascal VOC"),
        model={"anchors": anchors},
        optimizer={"learning_rate": 1e-3},
        schedule={"milestones": (160 / 240, 200 / 240)},
        epochs=240,
    )
    return recipe.model_copy(update={"evaluate": EvaluateConfig(voc_ap=True)})
