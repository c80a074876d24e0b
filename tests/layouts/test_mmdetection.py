"""Checkpoints of mmdetection's SSD become models that compute the same."""

import numpy as np
import pytest

from ssd_core.recipes import load_recipe
from tests.contract.compute import make_batch
from tests.layouts.imported import compute, import_file

torch = pytest.importorskip("torch", reason="these are files of PyTorch")
mmdetection_ssd = pytest.importorskip("tests.layouts.mmdetection_ssd")

NUM_CLASSES = 3
CLASSES = ["cat", "dog", "owl"]
NETWORKS = {
    "ssd300_vgg16": lambda: mmdetection_ssd.Ssd(300, NUM_CLASSES + 1),
    "ssd512_vgg16": lambda: mmdetection_ssd.Ssd(512, NUM_CLASSES + 1),
    "ssdlite320_mobilenet_v2": lambda: mmdetection_ssd.SsdLite(NUM_CLASSES + 1),
}
SSD300_SHAPES = {
    "backbone.features.0.weight": (64, 3, 3, 3),
    "backbone.features.31.weight": (1024, 512, 3, 3),
    "backbone.features.33.bias": (1024,),
    "neck.l2_norm.weight": (512,),
    "neck.extra_layers.0.0.conv.weight": (256, 1024, 1, 1),
    "neck.extra_layers.3.1.conv.bias": (256,),
    "bbox_head.cls_convs.0.0.weight": (4 * (NUM_CLASSES + 1), 512, 3, 3),
    "bbox_head.reg_convs.5.0.bias": (4 * 4,),
}
SSDLITE_SHAPES = {
    "backbone.conv1.conv.weight": (32, 3, 3, 3),
    "backbone.layer1.0.depthwise_conv.conv.weight": (32, 1, 3, 3),
    "backbone.layer5.2.linear_conv.bn.running_var": (96,),
    "backbone.layer7.0.expand_conv.bn.weight": (960,),
    "backbone.conv2.conv.weight": (1280, 320, 1, 1),
    "neck.extra_layers.0.0.conv.weight": (256, 1280, 1, 1),
    "neck.extra_layers.3.1.depthwise_conv.conv.weight": (64, 1, 3, 3),
    "neck.extra_layers.3.1.pointwise_conv.conv.weight": (128, 64, 1, 1),
    "bbox_head.cls_convs.0.0.conv.weight": (96, 1, 3, 3),
    "bbox_head.cls_convs.0.1.weight": (6 * (NUM_CLASSES + 1), 96, 1, 1),
    "bbox_head.reg_convs.5.1.bias": (6 * 4,),
}
SHAPES = {"ssd300_vgg16": SSD300_SHAPES, "ssdlite320_mobilenet_v2": SSDLITE_SHAPES}
"""As mmdetection prints them."""


@pytest.fixture(scope="module", params=NETWORKS)
def recipe(request):
    return load_recipe(request.param)


@pytest.fixture(scope="module")
def original(recipe):
    torch.manual_seed(0)
    return NETWORKS[recipe.name]().eval()


@pytest.fixture
def run(recipe, tmp_path):
    """Imports a checkpoint in the form that mmdetection publishes, without an archive."""

    def run(state):
        path = tmp_path / "epoch_24.pth"
        meta = {"epoch": 24, "CLASSES": tuple(CLASSES), "config": "model = dict()"}
        content = {"meta": meta, "state_dict": state}
        torch.save(content, path, _use_new_zipfile_serialization=False)
        return import_file(path, "mmdetection", recipe, classes=CLASSES)

    return run


def test_the_model_computes_the_same(original, run):
    model = run(original.state_dict())
    images = make_batch(0, model.description.model.image_size).images[:1]
    with torch.inference_mode():
        logits, offsets = original(torch.from_numpy(images).permute(0, 3, 1, 2))
    found = compute(model, images)
    torch.testing.assert_close(found[0], logits.roll(1, dims=2), atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(found[1], offsets, atol=1e-3, rtol=1e-4)
    shapes = {name: tuple(array.shape) for name, array in original.state_dict().items()}
    assert SHAPES.get(model.description.recipe.name, {}).items() <= shapes.items()


@pytest.mark.parametrize("recipe", ["ssd300_vgg16", "ssd512_vgg16"], indirect=True)
def test_names_before_version_2_14_are_read(original, run):
    state = original.state_dict()
    old = mmdetection_ssd.with_old_names(state)
    assert len(old.keys() - state.keys()) > 40
    found, expected = run(old).weights, run(state).weights
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)
