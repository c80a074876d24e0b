"""Backbones and extra layers: together they turn an image into the feature maps of all levels.

The names of modules are the names of the weights on disk, see `docs/file-formats.md`.
"""

from collections.abc import Callable, Sequence
from functools import partial

from ssd_core.backends.torch.backbones.layers import Backbone
from ssd_core.backends.torch.backbones.mobilenet_v1 import HalvingLayer, build_mobilenet_v1
from ssd_core.backends.torch.backbones.mobilenet_v2 import ExtraResidual, build_mobilenet_v2
from ssd_core.backends.torch.backbones.mobilenet_v3 import build_mobilenet_v3
from ssd_core.backends.torch.backbones.residual import Residual
from ssd_core.backends.torch.backbones.resnet50 import (
    ExtraBottleneck,
    build_resnet50,
    build_resnet50_conv5,
)
from ssd_core.backends.torch.backbones.vgg16 import ExtraLayer, build_vgg16
from ssd_core.networks import Design

_Extras = Sequence[ExtraLayer | ExtraResidual | HalvingLayer | ExtraBottleneck]
BACKBONES: dict[str, Callable[[Design], tuple[Backbone, _Extras]]] = {
    "vgg16": lambda _: build_vgg16("vgg16"),
    "vgg16_512": lambda _: build_vgg16("vgg16_512"),
    "vgg16_linear": lambda _: build_vgg16("vgg16_linear"),
    "residual": lambda design: (Residual(design.backbone), []),
    "mobilenet_v1": build_mobilenet_v1,
    "mobilenet_v2": partial(build_mobilenet_v2, has_branch=True),
    "mobilenet_v2_plain": partial(build_mobilenet_v2, has_branch=False),
    "mobilenet_v3": build_mobilenet_v3,
    "resnet50": build_resnet50,
    "resnet50_conv5": build_resnet50_conv5,
}
"""Each returns a backbone and its extra layers."""
