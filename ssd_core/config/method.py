"""The method as data: the parts of the network, of its training and of its detections.

`ssd_core/detection` implements every alternative of this page in NumPy; a backend implements those
that its recipes use and refuses the others. `docs/recipes.md` shows how a recipe combines them.
"""

from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    NonNegativeInt,
    PositiveFloat,
    SerializerFunctionWrapHandler,
    model_serializer,
)

from ssd_core.config.section import Section, Share

IouThreshold = Annotated[float, Field(gt=0, lt=1)]
LossDivisor = Literal["batch", "batch_at_least_one", "image"]


class AnchorLevel(Section):
    """The anchors of one feature map: the same shapes around the centre of every cell."""

    stride: PositiveFloat
    """Pixels of the network input between neighbouring centres, at stride * (index + 0.5). The
    feature map has image size / stride cells per side, rounded up."""
    shapes: tuple[tuple[PositiveFloat, PositiveFloat], ...] = Field(min_length=1)
    """Width and height of each anchor of a cell, in pixels of the network input."""


class MatchingSpec(Section):
    """Which anchors are positive, and for which object (`detection/matcher.py`)."""

    iou_threshold: IouThreshold = 0.5
    """IoU from which an anchor is positive."""
    inclusive: bool = True
    """Whether an IoU equal to the threshold suffices: it does for mmdetection and torchvision, not
    for MindSpore and NVIDIA."""
    contested_anchor: Literal["last", "first"] = "last"
    """Which of several objects with the same best anchor gets it: the last one (mmdetection,
    torchvision, NVIDIA), or the first one (MindSpore)."""


class SoftmaxLossSpec(Section):
    """Softmax cross entropy of the positives and the hardest negatives (SSD paper, section 2.2)."""

    name: Literal["softmax"] = "softmax"
    neg_to_pos_ratio: PositiveFloat = 3.0
    """Hard negatives per positive, image by image."""


class FocalLossSpec(Section):
    """Sigmoid focal loss of all anchors (Lin et al. 2017)."""

    name: Literal["focal"] = "focal"
    alpha: Share = 0.25
    """Weight of the target 1; the target 0 has 1 - alpha. MindSpore's 300-pixel models: 0.75."""
    gamma: float = Field(default=2.0, ge=0)
    """Exponent that lowers the weight of anchors that are classified well."""
    background_column: bool = False
    """Whether the background is a class that is trained too, as in MindSpore; else its column of
    the logits has no gradient."""


ClassificationLossSpec = Annotated[SoftmaxLossSpec | FocalLossSpec, Field(discriminator="name")]


class _DetectionLimits(Section):
    """Which of the scored boxes become detections."""

    score_threshold: float = Field(default=0.02, gt=0, lt=1)
    """The score of a detection exceeds this."""
    nms_iou_threshold: float = Field(default=0.45, gt=0, le=1)
    """A box is dropped if its IoU with a better box of its class exceeds this."""
    plus_one_areas: bool = False
    """Whether NMS adds 1 to the width and height of boxes in pixels of the image (MindSpore)."""
    topk_candidates: NonNegativeInt = 400
    """Best candidates per class that enter NMS; 0 for all."""
    max_detections_per_class: NonNegativeInt = 0
    """Best detections kept per class of an image; 0 for all."""
    max_detections_per_image: NonNegativeInt = 200
    """Best detections kept per image, over all classes; 0 for all."""


class PostprocessSpec(_DetectionLimits):
    """How raw outputs become detections."""

    scores: Literal["softmax", "sigmoid"] = "softmax"
    """How logits become scores; `sigmoid` belongs to the focal loss."""


class PostprocessOverrides(_DetectionLimits):
    """Changes of a model's own post-processing: only the values that are given."""

    def apply(self, spec: PostprocessSpec) -> PostprocessSpec:
        """Return `spec` with these values in place of its own."""
        return spec.model_copy(update=self.model_dump())

    @model_serializer(mode="wrap")
    def _leave_out_defaults(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values = serialize(self).items()
        return {name: value for name, value in values if name in self.model_fields_set}


class NormSpec(Section):
    """Batch normalisation."""

    epsilon: PositiveFloat = 1e-5
    """Added to the variance."""
    momentum: float = Field(default=0.1, gt=0, le=1)
    """Weight of a new batch in the running statistics, as torch counts; MindSpore's and
    TensorFlow's momentum is 1 minus this."""


class PyramidSpec(Section):
    """A feature pyramid (Lin et al. 2017) between the backbone and the heads."""

    channels: int = Field(default=256, gt=0)
    """Of every level."""
    norm: NormSpec = NormSpec()
    """Batch normalisation after its 3x3 convolutions."""


class ModelConfig(Section):
    """A network, its input and its outputs; a model directory carries this section."""

    backbone: Literal[
        "vgg16",
        "vgg16_512",
        "vgg16_linear",
        "residual",
        "mobilenet_v1",
        "mobilenet_v2",
        "mobilenet_v2_plain",
        "mobilenet_v3",
        "resnet50",
        "resnet50_conv5",
    ]
    """`vgg16`, `vgg16_512`: the paper's network with conv4_3 normalised, with its extra layers for
    300 or 512 px; `vgg16_linear`: MindSpore's, without biases and that norm, without activations
    after stage 5, and with dropout there; `residual`: five small basic blocks with batch
    normalisation; `mobilenet_v1`: that of MindSpore's SSD; `mobilenet_v2`: that of TensorFlow's and
    MindSpore's SSD; `mobilenet_v2_plain`: that of mmdetection's SSDLite; `mobilenet_v3`: that of
    torchvision's; `resnet50`: ResNet-50 up to conv4, as in NVIDIA's SSD300; `resnet50_conv5`: all
    of it but the classifier."""
    pyramid: PyramidSpec | None = None
    """Merges the levels of the backbone, of strides 8, 16 and 32, from the coarsest one down and
    takes the place of the extra layers; for `mobilenet_v1` and `resnet50_conv5`, with at least 3
    levels of anchors."""
    head: Literal["convolution", "separable", "shared"] = "convolution"
    """The layers that classify and place the anchors of a level: a 3x3 convolution, or, as in
    SSDLite, a depthwise 3x3 convolution with batch normalisation and a 1x1 convolution; or, for a
    pyramid, five 3x3 convolutions that all levels share, with norms of each level."""
    image_size: int = Field(gt=0, le=8192)
    """Side of the square network input in pixels."""
    resize: Literal["half_pixel", "asymmetric"] = "half_pixel"
    """Where an image is sampled for pixel i of the input, as ONNX calls it: at (i + 0.5) * scale -
    0.5, as OpenCV and PyTorch do, or, `asymmetric`, at i * scale, as TensorFlow 1 does."""
    mean: tuple[float, float, float]
    """Subtracted from the RGB values 0..255."""
    std: tuple[PositiveFloat, PositiveFloat, PositiveFloat]
    """Divides the RGB values after the mean is subtracted."""
    padding: Literal["symmetric", "same"] = "symmetric"
    """How convolutions pad: equally on both sides, or as TensorFlow's SAME, which at stride 2 pads
    the end only or more."""
    norm: NormSpec = NormSpec()
    """Batch normalisation, in backbones that have it."""
    head_norm: NormSpec | None = None
    """Batch normalisation in the extra layers and the heads, where it differs from `norm`."""
    anchors: tuple[AnchorLevel, ...] = Field(min_length=1)
    """One entry per feature map, finest first; `recipes/anchors.py` computes the usual ones."""
    initial_weights: Literal["he", "normal"] = "he"
    """`he`: He's normal distribution in the backbone, Xavier's uniform one in the other layers, as
    in mmdetection; `normal`: a normal distribution, cut at twice its deviation, as in MindSpore."""
    initial_deviation: PositiveFloat = 0.02
    """Of `normal`."""
    background_bias: float = 0.0
    """Initial bias of the background logit; positive where training starts from random weights."""
    variances: tuple[PositiveFloat, PositiveFloat] = (0.1, 0.2)
    """Scale of the centre and of the size offsets; torchvision's weights are their inverses."""
    postprocess: PostprocessSpec = PostprocessSpec()
    """How its outputs become detections; `evaluate`, `benchmark` and `predict` may override it."""
