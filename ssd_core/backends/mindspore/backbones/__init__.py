"""Backbones and extra layers: together they turn an image into the feature maps of all levels.

The names of cells are the names of the weights on disk, see `docs/file-formats.md`.
"""

from collections.abc import Callable, Sequence
from functools import partial

from ssd_core.backends.mindspore.backbones.layers import Backbone
from ssd_core.backends.mindspore.backbones.mobilenet_v1 import HalvingLayer, build_mobilenet_v1
from ssd_core.backends.mindspore.backbones.mobilenet_v2 import ExtraResidual, build_mobilenet_v2
from ssd_core.backends.mindspore.backbones.residual import Residual
from ssd_core.backends.mindspore.backbones.resnet50 import ResNet50
from ssd_core.backends.mindspore.backbones.vgg16 import ExtraLayer, build_vgg16
from ssd_core.networks import Design

_Extras = Sequence[ExtraLayer | ExtraResidual | HalvingLayer]
BACKBONES: dict[str, Callable[[Design], tuple[Backbone, _Extras]]] = {
    "vgg16": lambda _: build_vgg16("vgg16"),
    "vgg16_512": lambda _: build_vgg16("vgg16_512"),
    "vgg16_linear": lambda _: build_vgg16("vgg16_linear"),
    "residual": lambda design: (Residual(design.backbone), []),
    "mobilenet_v1": build_mobilenet_v1,
    "mobilenet_v2": partial(build_mobilenet_v2, has_branch=True),
    "mobilenet_v2_plain": partial(build_mobilenet_v2, has_branch=False),
    "resnet50_conv5": lambda design: (ResNet50(design.backbone), []),
}
"""Each returns a backbone and its extra layers."""
