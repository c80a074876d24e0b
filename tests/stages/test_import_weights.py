"""Weights of another program become a model."""

import hashlib
import json

import numpy as np
import pytest

from ssd_core.backends import open_backend
from ssd_core.config import InitConfig
from ssd_core.errors import DataError, OwnershipError, UsageError
from ssd_core.layouts.ckpt import read_ckpt, write_ckpt
from ssd_core.model_dir import Model, read_model, write_model
from ssd_core.recipes import load_recipe
from ssd_core.recipes.overrides import override
from ssd_core.stages import export, import_weights
from ssd_core.store import LocalDirectory
from ssd_core.structures import ClassInfo
from ssd_core.training.initial import InitialWeights
from tests.small_model import describe_model

CLASSES = ["red cell", "white cell"]
RECIPE = load_recipe("ssd300_mobilenet_v2")
PLAIN_HEADS = override(RECIPE, ["train.model.head=convolution"])
PREFIX = "network.multi_box.multi_loc_layers.0"


@pytest.fixture(scope="module")
def model():
    """A model with random weights that never was trained."""
    weights = open_backend("torch", "cpu", "fp32").learner(RECIPE.train, len(CLASSES)).weights()
    rng = np.random.default_rng(0)
    weights = {
        name: rng.random(array.shape, np.float32) + 0.1 if array.ndim == 1 else array
        for name, array in weights.items()
    }
    description = describe_model(num_classes=len(CLASSES)).model_copy(update={"recipe": RECIPE})
    infos = [ClassInfo(label=i, name=name, category_id=i) for i, name in enumerate(CLASSES, 1)]
    return Model(description=description, classes=tuple(infos), weights=weights)


@pytest.fixture(scope="module")
def arrays(model, tmp_path_factory):
    """The arrays of the checkpoint that it is exported to, by MindSpore's names."""
    folder = tmp_path_factory.mktemp("exported")
    write_model(LocalDirectory(folder / "model"), model.description, model.classes, model.weights)
    export.run(LocalDirectory(folder / "model"), LocalDirectory(folder / "out"), format_name="ckpt")
    return read_ckpt((folder / "out" / "model.ckpt").read_bytes())


@pytest.fixture
def run(tmp_path):
    def run(arrays, **options):
        path = tmp_path / "a.ckpt"
        path.write_bytes(write_ckpt(arrays))
        options = {"layout_name": "mindspore", "recipe": RECIPE, **options}
        return import_weights.run(LocalDirectory(path), LocalDirectory(tmp_path / "out"), **options)

    return run


def test_the_model_has_the_weights_and_the_record_their_origin(arrays, model, run, tmp_path):
    state = {f"moments.{name}": array for name, array in arrays.items()}
    state |= {"global_step": np.array([7], np.int32), "network.other.weight": np.ones(3)}
    result = run(arrays | state, classes=CLASSES)
    digest = hashlib.sha256((tmp_path / "a.ckpt").read_bytes()).hexdigest()
    assert result.metadata == {
        "arrays": len(model.weights),
        "classes": 2,
        "unmatched": 1,
        "sha256": digest,
    }
    found = read_model(LocalDirectory(tmp_path / "out"))
    assert [info.name for info in found.classes] == CLASSES
    recipe = override(RECIPE, ["train.precision=fp32"])
    assert (found.description.recipe, found.description.framework) == (recipe, "mindspore")
    assert found.description.training_id == digest[:16]
    for name, array in model.weights.items():
        np.testing.assert_array_equal(found.weights[name], array, err_msg=name)
    content = json.loads((tmp_path / "out" / "invocation.json").read_text())
    assert content["inputs"]["weights"]["digest"] == digest
    content = json.loads((tmp_path / "out" / "results.json").read_text())
    assert content["unmatched"] == ["other.weight"]


@pytest.mark.parametrize(
    ("scope", "parts"),
    [
        ("all", ("backbone.", "extras.", "heads.")),
        ("without-heads", ("backbone.", "extras.")),
        ("backbone", ("backbone.",)),
    ],
)
def test_a_training_starts_from_the_imported_model(scope, parts, arrays, model, run, tmp_path):
    run(arrays, classes=CLASSES)
    learner = open_backend("torch", "cpu", "fp32").learner(RECIPE.train, len(CLASSES))
    initial, start = learner.weights(), InitConfig(source=str(tmp_path / "out"), scope=scope)
    InitialWeights(start).load(learner, RECIPE.train.model, model.classes)
    for name, array in learner.weights().items():
        expected = model.weights if name.startswith(parts) else initial
        np.testing.assert_array_equal(array, expected[name], err_msg=name)


def test_half_precision_and_the_kernels_of_first_versions_are_read(arrays, model, run, tmp_path):
    changed = {
        name: array.swapaxes(0, 1) if array.ndim == 4 and array.shape[1] == 1 else array
        for name, array in arrays.items()
    }
    changed[f"{PREFIX}.3.bias"] = arrays[f"{PREFIX}.3.bias"].astype(np.float16)
    run(changed)
    found = read_model(LocalDirectory(tmp_path / "out")).weights
    for name, array in model.weights.items():
        assert found[name].dtype == np.float32
        rounded = name == "heads.bbox.0.conv.bias"
        np.testing.assert_allclose(found[name], array, rtol=1e-3 if rounded else 0, err_msg=name)


def test_a_network_that_the_program_lacks_has_our_names(run, tmp_path):
    recipe = load_recipe("demo")
    weights = open_backend("torch", "cpu", "fp32").learner(recipe.train, 3).weights()
    run(weights, recipe=recipe)
    found = read_model(LocalDirectory(tmp_path / "out"))
    assert [info.name for info in found.classes] == ["1", "2", "3"]
    for name, array in weights.items():
        np.testing.assert_array_equal(found.weights[name], array, err_msg=name)


@pytest.mark.parametrize(
    ("changes", "options", "error", "problem"),
    [
        ({}, {"classes": ["a"]}, UsageError, "has 1 names, but .* has weights for 2"),
        ({}, {"classes": ["a", "a"]}, UsageError, "'a' occurs twice"),
        (
            {},
            {"recipe": load_recipe("demo")},
            DataError,
            "which has 'network.* --layout, .* --recipe",
        ),
        ({}, {"recipe": PLAIN_HEADS}, DataError, "24 of the .* such as 'heads.cls.0.weight'"),
        ({f"{PREFIX}.3.bias": None}, {}, DataError, f"1 of the .* such as '{PREFIX[8:]}.3.bias'"),
        ({f"{PREFIX}.3.bias": np.ones(13, "f4")}, {}, DataError, r"is \(13,\) float32, the"),
        ({f"{PREFIX}.3.bias": np.ones(12, "i4")}, {}, DataError, r"\(12,\) int32, the network"),
        ({f"{PREFIX}.3.bias": np.full(12, np.nan, "f4")}, {}, DataError, "not finite; import"),
        ({"network.multi_box.multi_cls_layers.0.3.bias": np.ones(3000, "f4")}, {}, DataError, "is"),
    ],
    ids=[
        "classes",
        "repeated class",
        "recipe",
        "heads",
        "missing",
        "shape",
        "type",
        "not finite",
        "many classes",
    ],
)
def test_weights_that_do_not_fit_are_refused(
    arrays, run, tmp_path, changes, options, error, problem
):
    changed = {name: array for name, array in (arrays | changes).items() if array is not None}
    with pytest.raises(error, match=problem):
        run(changed, **options)
    assert not (tmp_path / "out").exists()


def test_another_output_is_left_alone(arrays, run, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "file").write_text("")
    with pytest.raises(OwnershipError, match="holds files"):
        run(arrays)
