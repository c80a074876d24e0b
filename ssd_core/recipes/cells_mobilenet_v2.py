"""A fine-tuning of TensorFlow's SSDLite for persons on the example images, blood cells.

Source: `ssdlite_mobilenet_v2` of the TensorFlow Object Detection API; `docs/weights.md`.
"""

from ssd_core.config import AnchorLevel, FreezeConfig, InitConfig, PostprocessSpec, Recipe
from ssd_core.recipes.anchors import tensorflow_levels
from ssd_core.recipes.demo import demo
from ssd_core.recipes.derive import derive
from ssd_core.recipes.ssd300_mobilenet_v2 import ssd300_mobilenet_v2

SIZE = 448
# Median sizes of platelets and red cells at this size of the image, and one in between.
CELLS = AnchorLevel(stride=16, shapes=((30, 38), (72, 94), (48, 62)))


def cells_mobilenet_v2() -> Recipe:
    """Return a training of 800 steps that keeps the first three stages of the backbone."""
    coarser = tensorflow_levels(SIZE, strides=(16, 32, 64, 112, 224, 448))[1:]
    return derive(
        demo(),
        name="cells_mobilenet_v2",
        description="SSDLite with MobileNetV2, 448 px: fine-tunes TensorFlow's on blood cells",
        model=ssd300_mobilenet_v2().train.model.model_dump()
        | {
            "image_size": SIZE,
            "resize": "asymmetric",
            "mean": (127.5, 127.5, 127.5),
            "std": (127.5, 127.5, 127.5),
            "anchors": (CELLS, *coarser),
            "background_bias": 3.0,
            "postprocess": PostprocessSpec(),
        },
        optimizer={"learning_rate": 1e-3},
        epochs=16,
        init=InitConfig(expected="TensorFlow's SSDLite for persons (ssd import-weights)"),
        freeze=FreezeConfig(stages=3),
    )
