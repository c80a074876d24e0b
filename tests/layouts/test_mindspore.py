"""Checkpoints of MindSpore's SSD become models that compute the same, and back."""

import numpy as np
import pytest

from ssd_core.backends import open_backend
from ssd_core.layouts.ckpt import read_ckpt
from ssd_core.layouts.mindspore import write_checkpoint
from ssd_core.recipes import load_recipe
from ssd_core.recipes.overrides import override
from tests.contract.compute import make_batch
from tests.layouts.imported import compute, import_file

pytestmark = pytest.mark.mindspore

NUM_CLASSES = 5
MODELS = {
    "ssd300_mobilenet_v1": "Ssd300MobileNetV1",
    "ssd300_mobilenet_v2": "Ssd300",
    "ssd300_vgg16_mindspore": "Ssd300Vgg16",
    "ssd640_mobilenet_v1_fpn": "ssd640_mobilenet_v1",
    "ssd640_resnet50_fpn": "ssd640_resnet50",
}
PYRAMID_SIDE = 128
"""Of smaller images that the same layers compute in less time."""


@pytest.fixture(scope="module", params=MODELS)
def recipe(request):
    recipe = load_recipe(request.param)
    if recipe.train.model.pyramid:
        return override(recipe, [f"train.model.image_size={PYRAMID_SIDE}"])
    return recipe


@pytest.fixture(scope="module")
def original(recipe):
    """The network of the original program with statistics as of a training."""
    from mindspore import Tensor

    import ssd_core.backends.mindspore  # noqa: F401  sets how MindSpore is loaded
    from tests.layouts import mindspore_ssd

    open_backend("mindspore", "cpu")
    network = getattr(mindspore_ssd, MODELS[recipe.name])(NUM_CLASSES + 1)
    rng = np.random.default_rng(0)
    for name, parameter in network.parameters_and_names():
        if parameter.ndim == 1:
            spread = rng.uniform(0.8, 1.2, parameter.shape)
            center = 0 if name.endswith(("beta", "moving_mean", "bias")) else 1
            parameter.set_data(Tensor((spread - 1 + center).astype(np.float32)))
    return network.set_train(False)


@pytest.fixture(scope="module")
def checkpoint(original, tmp_path_factory):
    from tests.layouts.mindspore_ssd import save

    path = tmp_path_factory.mktemp("original") / "ssd-3_7.ckpt"
    save(original, path)
    return path


@pytest.fixture(scope="module")
def imported(checkpoint, recipe):
    return import_file(checkpoint, "mindspore", recipe, framework="mindspore")


def test_raw_outputs_are_those_of_the_original(original, imported, recipe):
    from mindspore import Tensor

    model = recipe.train.model
    images = make_batch(0, model.image_size).images
    pixels = (images - np.array(model.mean)) / np.array(model.std)
    inputs = Tensor(pixels.transpose(0, 3, 1, 2).astype(np.float32))
    expected_offsets, expected_logits = (output.asnumpy() for output in original(inputs))
    logits, offsets = (part.asnumpy() for part in compute(imported, images, "mindspore"))
    assert len(imported.classes) == NUM_CLASSES
    assert expected_logits.std() > 1e-3
    np.testing.assert_allclose(logits, expected_logits, atol=1e-4 * abs(expected_logits).max())
    swapped = expected_offsets[..., [1, 0, 3, 2]]
    np.testing.assert_allclose(offsets, swapped, atol=1e-4 * abs(swapped).max())


def test_a_saved_network_without_its_training_is_read_too(original, imported, recipe, tmp_path):
    import mindspore

    path = tmp_path / "network.ckpt"
    mindspore.save_checkpoint(original, str(path))
    found = import_file(path, "mindspore", recipe, framework="mindspore")
    for name, array in found.weights.items():
        np.testing.assert_array_equal(array, imported.weights[name], err_msg=name)


def test_an_exported_checkpoint_is_that_of_the_original(original, imported, recipe, tmp_path):
    import mindspore

    path = tmp_path / "exported.ckpt"
    write_checkpoint(imported, path)
    exported = mindspore.load_checkpoint(str(path))
    expected = {f"network.{name}": each for name, each in original.parameters_and_names()}
    assert exported.keys() == expected.keys()
    for name, parameter in exported.items():
        np.testing.assert_array_equal(parameter.asnumpy(), expected[name].asnumpy(), err_msg=name)


def test_ckpt_files_are_read_as_mindspore_reads_them(checkpoint):
    import mindspore

    expected = mindspore.load_checkpoint(str(checkpoint))
    found = read_ckpt(checkpoint.read_bytes())
    assert found.keys() == expected.keys()
    for name, array in found.items():
        np.testing.assert_array_equal(array, np.asarray(expected[name].value()), err_msg=name)
