"""SSD300 with MobileNetV2, as MindSpore's SSD trains it; the network is also TensorFlow's SSDLite.

Source: the `ssd300` model of MindSpore's model zoo, for 8 devices.
"""

from ssd_core.config import (
    AugmentConfig,
    ColourFactorsSpec,
    FocalLossSpec,
    LossScaleConfig,
    MatchingSpec,
    ModelConfig,
    NormSpec,
    OptimizerConfig,
    PostprocessSpec,
    Recipe,
    ScheduleConfig,
    TrainConfig,
)
from ssd_core.recipes.anchors import tensorflow_levels

MINDSPORE_POSTPROCESS = PostprocessSpec(
    scores="sigmoid",
    score_threshold=0.1,
    nms_iou_threshold=0.6,
    plus_one_areas=True,
    topk_candidates=0,
    max_detections_per_class=100,
    max_detections_per_image=0,
)


def ssd300_mobilenet_v2() -> Recipe:
    """Return MindSpore's `ssd300`: 500 epochs, batch size 256, focal loss, 4.4 M parameters."""
    return Recipe(
        name="ssd300_mobilenet_v2",
        description="SSD300 with MobileNetV2, 300 px; training of MindSpore",
        train=TrainConfig(
            model=ModelConfig(
                backbone="mobilenet_v2",
                head="separable",
                image_size=300,
                mean=(123.675, 116.28, 103.53),
                std=(58.395, 57.12, 57.375),
                padding="same",
                norm=NormSpec(epsilon=1e-3, momentum=0.03),
                anchors=tensorflow_levels(300, strides=(16, 32, 64, 100, 150, 300)),
                initial_weights="normal",
                postprocess=MINDSPORE_POSTPROCESS,
            ),
            matching=MatchingSpec(inclusive=False, contested_anchor="first"),
            classification_loss=FocalLossSpec(alpha=0.75, background_column=True),
            augment=AugmentConfig(
                zoom_out_probability=0,
                crop_rule="mindspore",
                crop_min_ious=(0.1, 0.3, 0.5, 0.7, 0.9),
                colours=ColourFactorsSpec(),
            ),
            optimizer=OptimizerConfig(
                name="sgd", learning_rate=0.2, weight_decay=1.5e-4, decay_norms_and_biases=False
            ),
            loss_scale=LossScaleConfig(start=1024),
            schedule=ScheduleConfig(
                name="cosine", warmup=2 / 500, warmup_ratio=0.005, end_ratio=0.001
            ),
            batch_size=256,
            epochs=500,
        ),
    )
