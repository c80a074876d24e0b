"""SSD300 with ResNet-50, as NVIDIA trains it.

Source: NVIDIA DeepLearningExamples, `PyTorch/Detection/SSD`, 8 GPUs with 64 images each.
"""

from ssd_core.config import ColourFactorsSpec, Recipe
from ssd_core.recipes.anchors import paper_levels
from ssd_core.recipes.derive import derive
from ssd_core.recipes.ssd300_vgg16 import (
    SSD300_COCO_SIZES,
    SSD300_RATIOS,
    SSD300_STRIDES,
    ssd300_vgg16,
)


def ssd300_resnet50() -> Recipe:
    """Return NVIDIA's SSD300 v1.1: 65 epochs, batch size 512, losses per image."""
    return derive(
        ssd300_vgg16(),
        name="ssd300_resnet50",
        description="SSD300 with ResNet-50 up to conv4, 300 px; training of NVIDIA; PyTorch only",
        model={
            "backbone": "resnet50",
            "std": (58.395, 57.12, 57.375),
            "anchors": paper_levels(
                strides=SSD300_STRIDES, sizes=SSD300_COCO_SIZES, ratios=SSD300_RATIOS, limit=300
            ),
            "postprocess": {
                "score_threshold": 0.05,
                "nms_iou_threshold": 0.5,
                "topk_candidates": 200,
            },
        },
        matching={"inclusive": False},
        loss_divisor="image",
        init={"expected": "a ResNet-50 of torchvision (IMAGENET1K_V2)"},
        augment={
            "zoom_out_probability": 0.0,
            "colours": ColourFactorsSpec(brightness=0.125, contrast=0.5, saturation=0.5),
        },
        optimizer={
            "learning_rate": 2.6e-3 * 512 / 32,
            "decay_norms_and_biases": False,
            "clip_norm": None,
        },
        schedule={"warmup": 300, "warmup_ratio": 0.0, "milestones": (43 / 65, 54 / 65)},
        batch_size=512,
        epochs=65,
    )
