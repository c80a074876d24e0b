"""SSDLite with MobileNetV2, as mmdetection trains it.

Source: mmdetection `configs/ssd/ssdlite_mobilenetv2-scratch_8xb24-600e_coco.py`, but for the
initial weights of its heads, of deviation 0.001.
"""

from ssd_core.config import NormSpec, Recipe
from ssd_core.recipes.anchors import paper_levels
from ssd_core.recipes.derive import derive
from ssd_core.recipes.ssd300_vgg16 import ssd300_vgg16


def ssdlite320_mobilenet_v2() -> Recipe:
    """Return mmdetection's SSDLite: 600 epochs, batch size 192, from random weights."""
    return derive(
        ssd300_vgg16(),
        name="ssdlite320_mobilenet_v2",
        description="SSDLite with MobileNetV2, 320 px; training of mmdetection",
        model={
            "backbone": "mobilenet_v2_plain",
            "head": "separable",
            "image_size": 320,
            "std": (58.395, 57.12, 57.375),
            "norm": NormSpec(epsilon=1e-3, momentum=0.03),
            "anchors": paper_levels(
                strides=(16, 32, 64, 107, 160, 320),
                sizes=(48, 100, 150, 202, 253, 304, 320),
                ratios=((2, 3),) * 6,
            ),
            "initial_weights": "normal",
            "initial_deviation": 0.03,
        },
        init={"expected": None},
        optimizer={"learning_rate": 0.015, "weight_decay": 4e-5, "clip_norm": None},
        schedule={"name": "cosine", "milestones": ()},
        batch_size=192,
        epochs=600,
    )
