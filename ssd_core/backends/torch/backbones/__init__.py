"""Backbones and extra layers: together they turn an image into the feature maps of all levels.

The names of modules are the names of the weights on disk, see `docs/file-formats.md`.
"""

from collections.abc import Callable, Iterable, Sequence

from torch import Tensor, nn

from ssd_core.backends.torch.backbones.layers import Backbone
from ssd_core.backends.torch.backbones.mobilenet_v2 import ExtraResidual, build_mobilenet_v2
from ssd_core.backends.torch.backbones.mobilenet_v3 import build_mobilenet_v3
from ssd_core.backends.torch.backbones.residual import Residual
from ssd_core.backends.torch.backbones.resnet50 import ExtraBottleneck, build_resnet50
from ssd_core.backends.torch.backbones.vgg16 import ExtraLayer, build_vgg16
from ssd_core.networks import Style

_Extra = ExtraLayer | ExtraResidual | ExtraBottleneck
BACKBONES: dict[str, Callable[[Style], tuple[Backbone, Sequence[_Extra]]]] = {
    "vgg16": lambda _: build_vgg16("vgg16"),
    "vgg16_512": lambda _: build_vgg16("vgg16_512"),
    "vgg16_linear": lambda _: build_vgg16("vgg16_linear"),
    "residual": lambda style: (Residual(style), []),
    "mobilenet_v2": build_mobilenet_v2,
    "mobilenet_v3": build_mobilenet_v3,
    "resnet50": build_resnet50,
}
"""Each returns a backbone and its extra layers."""


def compute_features(
    backbone: Backbone, extras: Iterable[nn.Module], images: Tensor
) -> list[Tensor]:
    """Return the feature maps of all levels, finest first."""
    features: list[Tensor] = backbone(images)
    for layer in extras:
        features.append(layer(features[-1]))
    return features
