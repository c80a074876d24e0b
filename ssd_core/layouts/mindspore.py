"""MindSpore's SSD, `official/cv/SSD` of its model zoo: its five models."""

from pathlib import Path

from ssd_core.layouts.base import OURS, WeightLayout, choose_layout, norm_pair
from ssd_core.layouts.ckpt import write_ckpt
from ssd_core.logs import logger
from ssd_core.model_dir import Model
from ssd_core.networks import (
    EXTRAS,
    MOBILENET_V1,
    MOBILENET_V1_EXTRAS,
    MOBILENET_V2_BRANCH,
    MOBILENET_V2_EXTRAS,
    PYRAMID_INPUTS,
    RESNET50,
    TOWER_DEPTH,
    VGG16,
    mobilenet_v2_blocks,
)
from ssd_core.structures import Array

NORM_ROLES = {
    "scale": "gamma",
    "offset": "beta",
    "mean": "moving_mean",
    "variance": "moving_variance",
}
"""Of a norm, as in TensorFlow."""
_LEVELS = 6
"""Of the models for 300 px."""
_PYRAMID_LEVELS = 5
_HEADS = (("cls", "multi_cls_layers"), ("bbox", "multi_loc_layers"))
_SHARED_HEADS = (("cls", "cls"), ("bbox", "loc"))


def _residual(ours: str, theirs: str, *, expands: bool = True) -> dict[str, str]:
    """Return the names of an inverted residual: three convolutions, or two without expansion."""
    depthwise = int(expands)
    return {
        **(norm_pair(f"{ours}.expand", f"{theirs}.conv.0.features") if expands else {}),
        **norm_pair(f"{ours}.depthwise", f"{theirs}.conv.{depthwise}.features"),
        f"{ours}.project.conv": f"{theirs}.conv.{depthwise + 1}",
        f"{ours}.project.norm": f"{theirs}.conv.{depthwise + 2}",
    }


def _heads() -> dict[str, str]:
    """Return the names of the heads, which all models for 300 px have in common."""
    layers = {}
    for ours, theirs in _HEADS:
        for level in range(_LEVELS):
            for part, index in (("depthwise.conv", 0), ("depthwise.norm", 1), ("conv", 3)):
                layers[f"heads.{ours}.{level}.{part}"] = f"multi_box.{theirs}.{level}.{index}"
    return layers


def _mobilenet_v2() -> dict[str, str]:
    """Return the names of `ssd300`; the layers behind the branch are in a cell of their own."""
    layers = norm_pair("backbone.stem", "backbone.features_1.0.features")
    blocks, first = [*mobilenet_v2_blocks()], MOBILENET_V2_BRANCH + 1
    for index, block in enumerate(blocks):
        cell = f"features_1.{index + 1}" if index < first else f"features_2.{index - first}"
        expands = block.hidden != block.in_channels
        layers |= _residual(f"backbone.blocks.{index}", f"backbone.{cell}", expands=expands)
    layers |= norm_pair("backbone.branch", "backbone.expand_layer_conv_13.features")
    layers |= norm_pair("backbone.last", f"backbone.features_2.{len(blocks) - first}.features")
    for extra in range(len(MOBILENET_V2_EXTRAS)):
        layers |= _residual(f"extras.{extra}", f"multi_residual.{extra}")
    return layers | _heads()


def _mobilenet_v1_backbone() -> dict[str, str]:
    """Return the names of MobileNetV1, which numbers the convolutions of all blocks."""
    theirs = "feature_extractor.mobilenet_v1.network"
    layers = norm_pair("backbone.stem", f"{theirs}.0")
    for index in range(len(MOBILENET_V1)):
        layers |= norm_pair(f"backbone.blocks.{index}.depthwise", f"{theirs}.{2 * index + 1}")
        layers |= norm_pair(f"backbone.blocks.{index}.pointwise", f"{theirs}.{2 * index + 2}")
    return layers


def _mobilenet_v1() -> dict[str, str]:
    """Return the names of `ssd_mobilenet_v1`."""
    layers = _mobilenet_v1_backbone()
    for extra in range(len(MOBILENET_V1_EXTRAS)):
        layers |= norm_pair(f"extras.{extra}", f"multi_residual.{extra}.features")
    return layers | _heads()


def _resnet50_backbone() -> dict[str, str]:
    """Return the names of ResNet-50 up to conv5."""
    theirs = "feature_extractor.resnet"
    layers = {"backbone.stem.conv": f"{theirs}.conv1", "backbone.stem.norm": f"{theirs}.bn1"}
    for stage, (_, num_blocks) in RESNET50.items():
        for index in range(num_blocks):
            ours, block = f"backbone.conv{stage}.{index}", f"{theirs}.layer{stage - 1}.{index}"
            for number, part in enumerate(("first", "second", "third"), 1):
                layers[f"{ours}.{part}.conv"] = f"{block}.conv{number}"
                layers[f"{ours}.{part}.norm"] = f"{block}.bn{number}"
            if index == 0:
                layers |= norm_pair(f"{ours}.shortcut", f"{block}.down_sample_layer")
    return layers


def _pyramid() -> dict[str, str]:
    """Return the names behind the backbones of `ssd_mobilenet_v1_fpn` and `ssd_resnet50_fpn`.

    Cells that share a convolution save it under the name that it has in the first of them.
    """
    layers = {}
    for index in range(PYRAMID_INPUTS):
        theirs = "feature_extractor.fpn"
        layers[f"pyramid.lateral.{index}"] = f"{theirs}.lateral_convs_list.{index}"
        layers |= norm_pair(f"pyramid.smooth.{index}", f"{theirs}.fpn_convs_list.{index}")
    for index in range(_PYRAMID_LEVELS - PYRAMID_INPUTS):
        theirs = f"feature_extractor.bottom_up.blocks.{index}"
        layers |= norm_pair(f"pyramid.coarser.{index}", theirs)
    for kind, short in _SHARED_HEADS:
        ours, towers = f"heads.{kind}", f"multi_box.addition_layer_{short}"
        layers[f"{ours}.conv"] = f"multi_box.{short}_layers.0"
        for depth in range(TOWER_DEPTH):
            layers[f"{ours}.tower.{depth}"] = f"{towers}.0.{depth}.features.0"
            for level in range(_PYRAMID_LEVELS):
                theirs = f"{towers}.{level}.{depth}.features.1"
                layers[f"{ours}.norms.{level}.{depth}"] = theirs
    return layers


def _vgg16() -> dict[str, str]:
    """Return the names of `ssd_vgg16`; activations count in the numbers of a stage."""
    layers = {"backbone.fc6": "b6_1", "backbone.fc7": "b7_1"}
    for stage, widths in VGG16.items():
        for index in range(len(widths)):
            layers[f"backbone.conv{stage}_{index + 1}"] = f"backbone.b{stage}.{2 * index}"
    for extra in range(len(EXTRAS["vgg16_linear"])):
        for index in (1, 2):
            layers[f"extras.{extra}.conv{index}"] = f"b{8 + extra}_{index}"
    return layers | _heads()


def exchange_axes(ours: str, array: Array) -> Array:
    """Exchange x and y in the offsets of boxes: y, x, height, width there and in TensorFlow."""
    layer = ours.rpartition(".")[0]
    is_last = layer.endswith(".conv") and ".depthwise." not in layer
    if not (layer.startswith("heads.bbox.") and is_last):
        return array
    return array.reshape(-1, 4, *array.shape[1:])[:, [1, 0, 3, 2]].reshape(array.shape)


def _layout(layers: dict[str, str]) -> WeightLayout:
    return WeightLayout(layers=layers, roles=NORM_ROLES, prefix="network.", arrange=exchange_axes)


MINDSPORE = {
    "mobilenet_v1": _layout(_mobilenet_v1()),
    "mobilenet_v2": _layout(_mobilenet_v2()),
    "vgg16_linear": _layout(_vgg16()),
    "mobilenet_v1 with a pyramid": _layout(_mobilenet_v1_backbone() | _pyramid()),
    "resnet50_conv5 with a pyramid": _layout(_resnet50_backbone() | _pyramid()),
}


def write_checkpoint(model: Model, path: Path) -> dict[str, str | int]:
    """Write the weights of a model as a checkpoint that MindSpore's SSD loads; return its facts.

    Any other network keeps our names, which the facts and a warning state.
    """
    layout = choose_layout(MINDSPORE, model.description.model)
    if layout is OURS:
        logger.warning(
            "%s: the names are those of ssd-core (docs/file-formats.md), since no layout of "
            "MindSpore's SSD has this network",
            path.name,
        )
    arrays = {
        layout.prefix + layout.name(ours): layout.arrange(ours, array)
        for ours, array in model.weights.items()
    }
    path.write_bytes(write_ckpt(arrays))
    return {"arrays": len(arrays), "names": "ssd-core" if layout is OURS else "mindspore"}
