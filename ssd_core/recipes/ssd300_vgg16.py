"""SSD300 with VGG16 as in the paper, trained as mmdetection trains it.

Source: SSD paper, sections 2 and 3.4; mmdetection `configs/ssd/ssd300_coco.py`.
"""

from ssd_core.config import (
    AugmentConfig,
    InitConfig,
    ModelConfig,
    OptimizerConfig,
    Recipe,
    ScheduleConfig,
    TrainConfig,
)
from ssd_core.recipes.anchors import paper_levels

SSD300_STRIDES = (8, 16, 32, 64, 100, 300)
SSD300_COCO_SIZES = (21, 45, 99, 153, 207, 261, 315)
"""7 % and 15..105 % of 300 px: the sizes for COCO of the paper's section 3.4."""
SSD300_RATIOS = ((2,), (2, 3), (2, 3), (2, 3), (2,), (2,))


def ssd300_vgg16() -> Recipe:
    """Return the paper's SSD300: 120 epochs, batch size 64, learning rate / 10 after 80 and 110."""
    return Recipe(
        name="ssd300_vgg16",
        description="SSD300 with VGG16, 300 px; crops and training of mmdetection",
        train=TrainConfig(
            model=ModelConfig(
                backbone="vgg16",
                image_size=300,
                mean=(123.675, 116.28, 103.53),
                std=(1.0, 1.0, 1.0),
                anchors=paper_levels(
                    strides=SSD300_STRIDES, sizes=SSD300_COCO_SIZES, ratios=SSD300_RATIOS
                ),
            ),
            init=InitConfig(
                expected="a VGG16 for RGB values without their mean (torchvision's "
                "IMAGENET1K_FEATURES)",
            ),
            augment=AugmentConfig(crop_rule="mmdetection"),
            # Not mmdetection's: from random weights its first gradients, of norm 1,500, end in NaN.
            optimizer=OptimizerConfig(
                name="sgd", learning_rate=2e-3, weight_decay=5e-4, clip_norm=10
            ),
            schedule=ScheduleConfig(name="step", warmup=500, milestones=(80 / 120, 110 / 120)),
            batch_size=64,
            epochs=120,
        ),
    )
