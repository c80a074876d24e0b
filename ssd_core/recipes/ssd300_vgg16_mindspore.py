"""SSD300 with VGG16 as MindSpore's SSD trains it, in its two configurations.

Source: the `ssd_vgg16` model of MindSpore's model zoo, for 8 devices.
"""

from ssd_core.config import Recipe
from ssd_core.recipes.anchors import tensorflow_levels
from ssd_core.recipes.derive import derive
from ssd_core.recipes.ssd300_mobilenet_v2 import ssd300_mobilenet_v2
from ssd_core.recipes.ssd300_vgg16 import SSD300_STRIDES

_EPOCHS = 150


def ssd300_vgg16_mindspore() -> Recipe:
    """Return `ssd_vgg16` for Ascend: that of `ssd300` but for the network, and 150 epochs."""
    return _with_min_scale("ssd300_vgg16_mindspore", 0.2, "NPUs")


def ssd300_vgg16_mindspore_gpu() -> Recipe:
    """Return `ssd_vgg16` for GPUs, whose anchors begin with smaller ones."""
    return _with_min_scale("ssd300_vgg16_mindspore_gpu", 0.1, "GPUs")


def _with_min_scale(name: str, min_scale: float, devices: str) -> Recipe:
    anchors = tensorflow_levels(300, strides=SSD300_STRIDES, min_scale=min_scale)
    return derive(
        ssd300_mobilenet_v2(),
        name=name,
        description="MindSpore's SSD300 with VGG16 without biases and L2Norm, 300 px; "
        f"its configuration for {devices}",
        model={"backbone": "vgg16_linear", "anchors": anchors},
        schedule={"warmup": 2 / _EPOCHS},
        epochs=_EPOCHS,
    )
