"""SSD512 with VGG16 as in the paper, trained as mmdetection trains it.

Source: SSD paper, section 3.4; mmdetection `configs/ssd/ssd512_coco.py`.
"""

from ssd_core.config import Recipe
from ssd_core.recipes.anchors import paper_levels
from ssd_core.recipes.derive import derive
from ssd_core.recipes.ssd300_vgg16 import ssd300_vgg16

SSD512_STRIDES = (8, 16, 32, 64, 128, 256, 512)
SSD512_COCO_SIZES = (20, 51, 133, 215, 296, 378, 460, 542)
"""4 % and 10..106 % of 512 px."""
SSD512_RATIOS = ((2,), (2, 3), (2, 3), (2, 3), (2, 3), (2,), (2,))


def ssd512_vgg16() -> Recipe:
    """Return the paper's SSD512, trained like SSD300."""
    return derive(
        ssd300_vgg16(),
        name="ssd512_vgg16",
        description="SSD512 with VGG16, 512 px; crops and training of mmdetection",
        model={
            "backbone": "vgg16_512",
            "image_size": 512,
            "anchors": paper_levels(
                strides=SSD512_STRIDES, sizes=SSD512_COCO_SIZES, ratios=SSD512_RATIOS
            ),
        },
    )
