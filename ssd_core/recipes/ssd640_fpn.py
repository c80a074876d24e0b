"""SSD640 with a feature pyramid and shared heads, as MindSpore's SSD trains it.

Source: the models `ssd_mobilenet_v1_fpn` and `ssd_resnet50_fpn` of MindSpore's model zoo, for 8
devices; the network is also TensorFlow's.
"""

from ssd_core.config import NormSpec, PyramidSpec, Recipe
from ssd_core.recipes.anchors import retinanet_levels
from ssd_core.recipes.derive import derive
from ssd_core.recipes.ssd300_mobilenet_v1 import ssd300_mobilenet_v1

_EPOCHS = 60


def ssd640_mobilenet_v1_fpn() -> Recipe:
    """Return `ssd_mobilenet_v1_fpn`: 60 epochs, batch size 256; starts from ImageNet's weights."""
    return derive(
        ssd300_mobilenet_v1(),
        name="ssd640_mobilenet_v1_fpn",
        description="SSD640 with MobileNetV1 and a pyramid, 640 px; training of MindSpore",
        model={
            "image_size": 640,
            "pyramid": PyramidSpec(),
            "head": "shared",
            "anchors": retinanet_levels(strides=(8, 16, 32, 64, 128)),
        },
        init={"expected": "a MobileNetV1 that was trained on ImageNet"},
        classification_loss={"alpha": 0.25},
        optimizer={"weight_decay": 4e-5, "clip_norm": 1.0},
        schedule={"warmup": 2 / _EPOCHS, "warmup_ratio": 0.01333 / 0.2, "end_ratio": 0.0},
        epochs=_EPOCHS,
    )


def ssd640_resnet50_fpn() -> Recipe:
    """Return `ssd_resnet50_fpn`: the same with another backbone."""
    return derive(
        ssd640_mobilenet_v1_fpn(),
        name="ssd640_resnet50_fpn",
        description="SSD640 with ResNet-50 and a pyramid, 640 px; training of MindSpore",
        model={"backbone": "resnet50_conv5", "norm": NormSpec(epsilon=1e-3, momentum=0.003)},
        init={"expected": "a ResNet-50 that was trained on ImageNet"},
        optimizer={"weight_decay": 4e-4},
    )
