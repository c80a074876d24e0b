"""SSDLite with MobileNetV3, as torchvision trains it.

Source: `ssdlite320_mobilenet_v3_large` of torchvision, and the recipe in its references/detection.
"""

from ssd_core.config import NormSpec, PhotometricSpec, PostprocessSpec, Recipe
from ssd_core.recipes.anchors import even_strides, paper_levels
from ssd_core.recipes.derive import derive
from ssd_core.recipes.ssd300_vgg16 import ssd300_vgg16

_SCALES = (0.2, 0.35, 0.5, 0.65, 0.8, 0.95, 1.0)
_EPOCHS = 660


def ssdlite320_mobilenet_v3() -> Recipe:
    """Return torchvision's SSDLite: 660 epochs, batch size 192, from random weights."""
    return derive(
        ssd300_vgg16(),
        name="ssdlite320_mobilenet_v3",
        description="SSDLite with MobileNetV3, 320 px; training of torchvision; PyTorch only",
        model={
            "backbone": "mobilenet_v3",
            "head": "separable",
            "image_size": 320,
            "mean": (127.5, 127.5, 127.5),
            "std": (127.5, 127.5, 127.5),
            "norm": NormSpec(epsilon=1e-3, momentum=0.03),
            "anchors": paper_levels(
                strides=even_strides(320, (20, 10, 5, 3, 2, 1)),
                sizes=[320 * scale for scale in _SCALES],
                ratios=((2, 3),) * 6,
                limit=320,
            ),
            "initial_weights": "normal",
            "initial_deviation": 0.03,
            "postprocess": PostprocessSpec(
                score_threshold=0.001,
                nms_iou_threshold=0.55,
                topk_candidates=300,
                max_detections_per_image=300,
            ),
        },
        init={"expected": None},
        augment={
            "zoom_out_probability": 0.0,
            "crop_rule": "torchvision",
            "colours": PhotometricSpec(probability=0),
        },
        optimizer={"learning_rate": 0.15, "weight_decay": 4e-5, "clip_norm": None},
        schedule={"name": "cosine", "warmup": 1 / _EPOCHS, "milestones": ()},
        batch_size=192,
        epochs=_EPOCHS,
    )
