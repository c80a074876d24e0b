"""A small detector that learns from a hundred images in minutes, from random weights."""

from ssd_core.config import (
    AugmentConfig,
    ModelConfig,
    OptimizerConfig,
    PhotometricSpec,
    Recipe,
    ScheduleConfig,
    TrainConfig,
)
from ssd_core.recipes.anchors import paper_levels


def demo() -> Recipe:
    """Return the recipe of `make demo`: a residual SSD at 256 px."""
    size = 256
    return Recipe(
        name="demo",
        description="Residual SSD, 256 px: learns in minutes on two CPU cores;"
        " crops as in mmdetection",
        train=TrainConfig(
            model=ModelConfig(
                backbone="residual",
                image_size=size,
                mean=(123.675, 116.28, 103.53),
                std=(58.395, 57.12, 57.375),
                background_bias=3.0,
                anchors=paper_levels(
                    strides=(8, 16, 32, 64),
                    sizes=[size * scale for scale in (0.07, 0.17, 0.33, 0.55, 0.77)],
                    ratios=((2,), (2,), (2,), (2,)),
                ),
            ),
            # A hundred images from one microscope: cells differ by colour, and their size hardly
            # varies. AP50 after 800 steps of 8 images was 0.05 lower with colour changes, and 0.17
            # lower with zoom-out in addition.
            augment=AugmentConfig(
                zoom_out_probability=0,
                crop_rule="mmdetection",
                crop_min_scale=0.7,
                colours=PhotometricSpec(probability=0),
            ),
            optimizer=OptimizerConfig(
                name="adamw", learning_rate=2e-3, weight_decay=0.05, decay_norms_and_biases=False
            ),
            schedule=ScheduleConfig(name="cosine", warmup=0.05),
            batch_size=2,  # More updates pay: docs/decisions/not-taken.md compares.
            epochs=20,
            # A step in bf16 takes 2.6 times as long with avx512_bf16: gradients on small maps.
            precision="fp32",
            checkpoint_interval=100,
        ),
    )
