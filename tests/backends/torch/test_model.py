"""The networks: their shapes and initial weights, against torchvision and TensorFlow."""

import numpy as np
import pytest
import torch
from torch.nn import functional
from torchvision.models.detection import ssd300_vgg16
from torchvision.models.detection.image_list import ImageList

from ssd_core.backends.torch.backbones.layers import SameConv2d
from ssd_core.backends.torch.backbones.vgg16 import Dropout
from ssd_core.backends.torch.backend import TorchBackend
from ssd_core.backends.torch.model import Ssd
from ssd_core.backends.torch.norms import BatchNorm
from ssd_core.backends.torch.pyramid import double
from ssd_core.config import NormSpec, PostprocessSpec, PyramidSpec
from ssd_core.errors import DataError, UsageError
from ssd_core.networks import level_sides
from ssd_core.recipes import RECIPES, load_recipe
from ssd_core.recipes.anchors import paper_levels
from ssd_core.recipes.ssd300_vgg16 import SSD300_COCO_SIZES, SSD300_RATIOS, SSD300_STRIDES

VGG16 = load_recipe("ssd300_vgg16").train.model
RESIDUAL = load_recipe("demo").train.model
VGG16_512 = load_recipe("ssd512_vgg16").train.model
VGG16_LINEAR = load_recipe("ssd300_vgg16_mindspore").train.model
MOBILENET_V2 = load_recipe("ssd300_mobilenet_v2").train.model
MOBILENET_V3 = load_recipe("ssdlite320_mobilenet_v3").train.model
RESNET50 = load_recipe("ssd300_resnet50").train.model
PYRAMID = load_recipe("ssd640_resnet50_fpn").train.model
MODELS = {
    f"{model.backbone}, {model.head}": model
    for name in reversed(RECIPES)
    for model in [load_recipe(name).train.model]
}
EVERY_NETWORK = pytest.mark.parametrize("config", MODELS.values(), ids=MODELS)
TORCHVISION_CLASSES = 91


REFUSED = [
    (VGG16, {"image_size": 512}, r"anchors: .* 'vgg16' at 512 px has feature maps of \(64, 32"),
    (RESIDUAL, {"anchors": VGG16.anchors}, "model.anchors: backbone 'residual' at 256 px"),
    (VGG16, {"padding": "same"}, "model.padding: backbone 'vgg16' .* use 'symmetric'"),
    (VGG16_LINEAR, {"padding": "symmetric"}, "backbone 'vgg16_linear' .* use 'same'"),
    (VGG16, {"pyramid": PyramidSpec()}, "model.pyramid: backbone 'vgg16' has no levels for"),
    (PYRAMID, {"pyramid": None}, "model.backbone: 'resnet50_conv5' has no extra layers"),
    (PYRAMID, {"anchors": PYRAMID.anchors[:2]}, "model.anchors: a pyramid has at least 3 levels"),
    (RESIDUAL, {"head": "shared"}, "model.head: a shared head needs levels of equal channels"),
    (PYRAMID, {"anchors": VGG16.anchors}, "model.head: a shared head needs"),
]


@pytest.mark.parametrize(("config", "change", "message"), REFUSED, ids=[m for *_, m in REFUSED])
def test_a_network_that_cannot_be_built_is_refused(config, change, message):
    with pytest.raises(UsageError, match=message):
        Ssd(config.model_copy(update=change), 3)


@pytest.mark.parametrize(("config", "scale"), [(RESNET50, 1.0), (PYRAMID, 0.0)])
def test_blocks_of_the_resnet50_for_a_pyramid_begin_as_the_identity(config, scale):
    state = Ssd(config, 3).backbone.state_dict()
    scales = [weights for name, weights in state.items() if name.endswith("third.norm.scale")]
    assert {float(value) for each in scales for value in each} == {scale}


def test_weights_are_refused_before_their_network_takes_memory():
    with pytest.raises(DataError, match="weights: 'backbone.* is missing"):
        TorchBackend("cpu").detector(VGG16, 10**9, {}, VGG16.postprocess)


@EVERY_NETWORK
@pytest.mark.parametrize("side", [287, 300, 301, 320, 512])
def test_feature_maps_have_the_planned_sides(config, side):
    with torch.device("meta"):
        model = Ssd(config, 3)
        features = model.compute_features(torch.empty(2, 3, side, side))
    sized = config.model_copy(update={"image_size": side})
    assert tuple(level.shape[-1] for level in features) == level_sides(sized)


def test_norms_have_the_epsilon_and_momentum_of_the_configuration():
    norm = NormSpec(epsilon=1e-3, momentum=0.03)
    model = Ssd(RESIDUAL.model_copy(update={"norm": norm}), 3)
    found = {(part.eps, part.momentum) for part in model.modules() if isinstance(part, BatchNorm)}
    assert found == {(1e-3, 0.03)}


@EVERY_NETWORK
def test_initial_weights_depend_on_the_seed_alone(config):
    model = Ssd(config, 3)
    drawn = []
    for seed in (1, 1, 2):
        model.initialize(seed)
        drawn.append({name: array.clone() for name, array in model.state_dict().items()})
    assert all(torch.equal(drawn[0][name], drawn[1][name]) for name in drawn[0])
    weights = [name for name in drawn[0] if drawn[0][name].ndim == 4]
    assert weights
    assert all(not torch.equal(drawn[0][name], drawn[2][name]) for name in weights)


def test_normal_initial_weights_are_cut_at_twice_their_deviation():
    model = Ssd(MOBILENET_V2, 80)
    model.initialize(0)
    drawn = torch.cat([array.detach().flatten() for array in model.parameters() if array.ndim == 4])
    assert drawn.abs().max() <= 0.04
    assert drawn.std() == pytest.approx(0.02 * 0.88, rel=0.01)  # of the distribution that is cut


@pytest.mark.parametrize(
    ("side", "stride", "start", "end"), [(4, 2, 0, 1), (5, 2, 1, 1), (4, 1, 1, 1), (1, 2, 1, 1)]
)
def test_same_padding_is_that_of_tensorflow(side, stride, start, end):
    features = torch.rand(2, 3, side, side)
    same = SameConv2d(3, 5, 3, stride)
    padded = functional.pad(features, (start, end, start, end))
    expected = functional.conv2d(padded, same.weight, same.bias, stride)
    torch.testing.assert_close(same(features), expected)


def test_a_map_is_doubled_as_mindspore_aligns_it():
    """Corners on corners, but for one more row and column, which repeat the last ones."""
    features = torch.rand(2, 3, 4, 5)
    found = double(features)
    expected = functional.interpolate(features, (7, 9), mode="bilinear", align_corners=True)
    torch.testing.assert_close(found[..., :7, :9], expected)
    torch.testing.assert_close(found[..., 7, :], found[..., 6, :])
    torch.testing.assert_close(found[..., 9], found[..., 8])


def test_dropout_depends_on_the_pixels_of_its_image_alone():
    images = torch.rand(3, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    images[2] = images[0]
    features = torch.rand(3, 64, 19, 19) + 1
    dropped = Dropout(0).train()(features, images)
    np.testing.assert_allclose((dropped > 0).double().mean(dim=(1, 2, 3)), 0.5, atol=0.01)
    assert torch.equal(dropped[dropped > 0], 2 * features[dropped > 0])
    kept = dropped > 0
    assert torch.equal(kept[0], kept[2])
    for others in (kept[1], Dropout(1).train()(features, images)[0] > 0):
        assert (kept[0] == others).double().mean().item() == pytest.approx(0.5, abs=0.01)
    assert torch.equal(Dropout(0).train()(features[1:], images[1:]), dropped[1:])
    assert torch.equal(Dropout(0).eval()(features, images), features)


@pytest.mark.parametrize("config", [RESIDUAL, PYRAMID], ids=["levels", "shared"])
def test_the_background_bias_is_set_on_every_box_of_every_level(config):
    model = Ssd(config.model_copy(update={"background_bias": 3.0}), 3)
    model.initialize(0)
    head = model.heads["cls"]
    last = [head.conv] if config.head == "shared" else list(head)
    for convolution in last:
        boxes = convolution.bias.detach().view(-1, 4)
        np.testing.assert_array_equal(boxes, [[3, 0, 0, 0]] * len(boxes))
        assert convolution.bias.requires_grad
    biases = [part for name, part in head.named_parameters() if name.endswith("bias")]
    assert sum(bias.count_nonzero() for bias in biases) == sum(
        len(convolution.bias) // 4 for convolution in last
    )


def test_initial_features_keep_their_scale_through_vgg16():
    model = Ssd(VGG16, 3)
    model.initialize(0)
    inputs = torch.rand(1, 3, 300, 300, generator=torch.Generator().manual_seed(0)) * 255 - 120
    with torch.inference_mode():
        deviations = [level.std().item() for level in model.compute_features(inputs)]
    assert min(deviations) > 0.1
    assert max(deviations) < 1000


def test_normalize_subtracts_the_mean_and_divides_by_the_standard_deviation():
    values = (0, 128, 255)
    pixels = torch.tensor(values, dtype=torch.uint8).expand(1, 2, 2, 3).contiguous()
    found = Ssd(RESIDUAL, 3).normalize(pixels)
    expected = [
        (value - m) / s for value, m, s in zip(values, RESIDUAL.mean, RESIDUAL.std, strict=True)
    ]
    np.testing.assert_allclose(found[0, :, 1, 1], expected, rtol=1e-6)
    assert found.is_contiguous(memory_format=torch.channels_last)


@pytest.fixture(scope="module")
def twins():
    """torchvision's SSD300 with random weights, and ours with the same ones.

    The class heads are scaled, and the background raised, until about 2,000 pairs of anchor and
    class pass the threshold: raw random weights give 786,000 nearly equal scores.
    """
    torch.manual_seed(0)
    theirs = ssd300_vgg16(weights=None, weights_backbone=None, num_classes=TORCHVISION_CLASSES)
    theirs.eval()
    head = theirs.head.classification_head.module_list
    with torch.inference_mode():
        inputs = theirs.transform([torch.rand(3, 300, 300)])[0].tensors
        for convolution, level in zip(head, theirs.backbone(inputs).values(), strict=True):
            convolution.weight.mul_(1.5 / convolution(level).std())
            convolution.bias.view(-1, TORCHVISION_CLASSES)[:, 0] = 9.0
    limited = paper_levels(
        strides=SSD300_STRIDES, sizes=SSD300_COCO_SIZES, ratios=SSD300_RATIOS, limit=300
    )
    config = VGG16.model_copy(update={"anchors": limited})
    ours = Ssd(config, TORCHVISION_CLASSES - 1)
    copy_weights(theirs, ours)
    return theirs, ours, config, inputs


def copy_weights(theirs, ours):
    """Copy one to one: but for the scale of conv4_3 both list their layers in the same order."""
    source = theirs.state_dict()
    scale = source.pop("backbone.scale_weight")
    names = [name for name in ours.state_dict() if name != "backbone.conv4_3_norm.scale"]
    copied = dict(zip(names, source.values(), strict=True))
    ours.load_state_dict({**copied, "backbone.conv4_3_norm.scale": scale})


def test_outputs_equal_torchvision(twins):
    theirs, ours, _, inputs = twins
    with torch.inference_mode():
        expected = theirs.head(list(theirs.backbone(inputs).values()))
        logits, offsets = ours.eval()(inputs)
    assert expected["cls_logits"].std() > 1
    torch.testing.assert_close(logits, expected["cls_logits"], atol=1e-4, rtol=0)
    torch.testing.assert_close(offsets, expected["bbox_regression"], atol=1e-4, rtol=0)


def test_detections_equal_torchvision(twins):
    theirs, ours, config, inputs = twins
    with torch.inference_mode():
        features = list(theirs.backbone(inputs).values())
        images = ImageList(inputs, [(300, 300)])
        expected = theirs.postprocess_detections(
            theirs.head(features), theirs.anchor_generator(images, features), [(300, 300)]
        )[0]
    postprocess = PostprocessSpec(
        score_threshold=0.01,
        nms_iou_threshold=0.45,
        topk_candidates=400,
        max_detections_per_image=200,
    )
    weights = {name: tensor.numpy() for name, tensor in ours.state_dict().items()}
    detector = TorchBackend("cpu", "fp32").detector(
        config, TORCHVISION_CLASSES - 1, weights, postprocess
    )
    found = detector.postprocess(detector.forward(inputs), [(300, 300)])[0]
    assert len(found) == 200
    assert len(set(found.labels.tolist())) > 10
    np.testing.assert_array_equal(found.labels, expected["labels"])
    np.testing.assert_allclose(found.scores, expected["scores"], atol=1e-5)
    np.testing.assert_allclose(found.boxes, expected["boxes"], atol=1e-2)
