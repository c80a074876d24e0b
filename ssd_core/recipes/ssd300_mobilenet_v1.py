"""SSD300 with MobileNetV1, as MindSpore's SSD trains it.

Source: the `ssd_mobilenet_v1` model of MindSpore's model zoo, for GPUs.
"""

from ssd_core.config import NormSpec, Recipe
from ssd_core.recipes.derive import derive
from ssd_core.recipes.ssd300_mobilenet_v2 import ssd300_mobilenet_v2


def ssd300_mobilenet_v1() -> Recipe:
    """Return `ssd_mobilenet_v1`: that of `ssd300` but for the network."""
    base = ssd300_mobilenet_v2()
    return derive(
        base,
        name="ssd300_mobilenet_v1",
        description="SSD300 with MobileNetV1, 300 px; training of MindSpore",
        model={
            "backbone": "mobilenet_v1",
            "norm": NormSpec(),
            "head_norm": base.train.model.norm,
        },
    )
