"""TensorFlow's SSDLite with MobileNetV2, `ssdlite_mobilenet_v2` of its Object Detection API."""

from ssd_core.config import PostprocessSpec
from ssd_core.layouts.base import WeightLayout
from ssd_core.layouts.mindspore import NORM_ROLES, exchange_axes
from ssd_core.networks import MOBILENET_V2_EXTRAS, mobilenet_v2_blocks
from ssd_core.recipes.anchors import even_strides, tensorflow_levels

_CELLS = (19, 10, 5, 3, 2, 1)
_BACKBONE = "FeatureExtractor.MobilenetV2"
_BRANCH = f"{_BACKBONE}.expanded_conv_13.expand"
"""Feeds the next block as well as the first level of the detector, which are two layers of ours."""


def _convolution(ours: str, theirs: str, *, is_depthwise: bool = False) -> dict[str, str]:
    """Return the names of a convolution and of the norm behind it."""
    weights = "depthwise_weights" if is_depthwise else "weights"
    return {f"{ours}.conv.weight": f"{theirs}.{weights}", f"{ours}.norm": f"{theirs}.BatchNorm"}


def _backbone() -> dict[str, str]:
    layers = _convolution("backbone.stem", f"{_BACKBONE}.Conv")
    for index, block in enumerate(mobilenet_v2_blocks()):
        ours = f"backbone.blocks.{index}"
        theirs = f"{_BACKBONE}.expanded_conv" + (f"_{index}" if index else "")
        if block.hidden != block.in_channels:
            layers |= _convolution(f"{ours}.expand", f"{theirs}.expand")
        layers |= _convolution(f"{ours}.depthwise", f"{theirs}.depthwise", is_depthwise=True)
        layers |= _convolution(f"{ours}.project", f"{theirs}.project")
    layers |= _convolution("backbone.branch", _BRANCH)
    return layers | _convolution("backbone.last", f"{_BACKBONE}.Conv_1")


def _extras() -> dict[str, str]:
    layers: dict[str, str] = {}
    for index, block in enumerate(MOBILENET_V2_EXTRAS):
        ours, number = f"extras.{index}", index + 2
        expand = f"{_BACKBONE}.layer_19_1_Conv2d_{number}_1x1_{block.hidden}"
        project = f"{_BACKBONE}.layer_19_2_Conv2d_{number}_3x3_s2_{block.out_channels}"
        layers |= _convolution(f"{ours}.expand", expand)
        layers |= _convolution(f"{ours}.depthwise", f"{project}_depthwise", is_depthwise=True)
        layers |= _convolution(f"{ours}.project", project)
    return layers


def _heads() -> dict[str, str]:
    layers: dict[str, str] = {}
    for level in range(len(_CELLS)):
        for kind, predictor in (("cls", "ClassPredictor"), ("bbox", "BoxEncodingPredictor")):
            ours, theirs = f"heads.{kind}.{level}", f"BoxPredictor_{level}.{predictor}"
            layers |= _convolution(f"{ours}.depthwise", f"{theirs}_depthwise", is_depthwise=True)
            layers |= {
                f"{ours}.conv.weight": f"{theirs}.weights",
                f"{ours}.conv.bias": f"{theirs}.biases",
            }
    return layers


TENSORFLOW = {
    "mobilenet_v2": WeightLayout(
        layers=_backbone() | _extras() | _heads(),
        roles=NORM_ROLES,
        arrange=exchange_axes,
        model={
            "resize": "asymmetric",
            "mean": (127.5, 127.5, 127.5),
            "std": (127.5, 127.5, 127.5),
            "anchors": tensorflow_levels(
                300, strides=even_strides(300, _CELLS), ratios=(2, 1 / 2, 3, 0.3333)
            ),
            "postprocess": PostprocessSpec(
                scores="sigmoid",
                score_threshold=1e-8,
                nms_iou_threshold=0.6,
                topk_candidates=0,
                max_detections_per_class=100,
                max_detections_per_image=100,
            ),
        },
    )
}
