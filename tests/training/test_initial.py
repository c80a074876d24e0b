"""Initial weights from models and files: what fits, what is left, what is refused."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from ssd_core.config import InitConfig
from ssd_core.errors import DataError, UsageError
from ssd_core.model_dir import write_model
from ssd_core.store import LocalDirectory
from ssd_core.store.known_file import write_arrays
from ssd_core.structures import Array, ClassInfo
from ssd_core.training.initial import InitialWeights
from tests.small_model import describe_model

ANCHORS = 2
LAYERS = {"backbone.conv1_1": (2, 3), "backbone.conv2_1": (4, 2), "extras.0.conv1": (3, 4)}


def make_classes(*names: str) -> list[ClassInfo]:
    return [
        ClassInfo(label=label, name=name, category_id=label)
        for label, name in enumerate(names, start=1)
    ]


def make_arrays(num_classes: int, seed: int) -> dict[str, Array]:
    """Return the arrays of a network with few numbers, all different."""
    rng = np.random.default_rng(seed)
    shapes = LAYERS | {"heads.cls.0": (ANCHORS * (num_classes + 1), 3), "heads.bbox.0": (8, 3)}
    return {
        f"{name}.{kind}": rng.random(shape if kind == "weight" else shape[:1], np.float32)
        for name, shape in shapes.items()
        for kind in ("weight", "bias")
    }


class Holder:
    """A learner that only holds its state."""

    def __init__(self, num_classes: int) -> None:
        weights = make_arrays(num_classes, seed=1)
        self.arrays = {f"weights/{name}": array for name, array in weights.items()}
        self.arrays["optimizer/momentum"] = np.zeros(1, np.float32)

    def state(self) -> dict[str, Array]:
        return {name: array.copy() for name, array in self.arrays.items()}

    def load_state(self, state: Mapping[str, Array]) -> None:
        assert state.keys() == self.arrays.keys()
        self.arrays = dict(state)

    def weights(self) -> dict[str, Array]:
        return {name[8:]: each for name, each in self.arrays.items() if name.startswith("weights/")}


def write_file(path: Path, arrays: Mapping[str, Array]) -> InitConfig:
    write_arrays(LocalDirectory(path.parent), path.name, arrays)
    return InitConfig(source=str(path))


def start(config: InitConfig, *names: str) -> tuple[dict[str, Array], dict[str, object]]:
    """Return the weights with which a training on these classes starts, and the record of it."""
    learner = Holder(len(names))
    model = describe_model().model.model_copy(update={"backbone": "vgg16"})
    classes = make_classes(*names)
    origin = InitialWeights(config).load(learner, model, classes)  # type: ignore[arg-type]
    return learner.weights(), origin


def rows(array: Array, num_classes: int) -> Array:
    """Return the rows of a head as anchors x classes."""
    return array.reshape(ANCHORS, num_classes + 1, -1)


@pytest.fixture
def model(tmp_path: Path) -> tuple[InitConfig, dict[str, Array]]:
    """Return a model of the classes a, b and c, and its arrays."""
    arrays = make_arrays(3, seed=2)
    description = describe_model(num_classes=3)
    write_model(LocalDirectory(tmp_path), description, make_classes("a", "b", "c"), arrays)
    return InitConfig(source=str(tmp_path)), arrays


@pytest.mark.parametrize(
    ("names", "renamed", "pairs"),
    [
        (("a", "b", "c"), (), {0: 0, 1: 1, 2: 2, 3: 3}),
        (("c", "new", "a"), (), {0: 0, 1: 3, 3: 1}),
        (("b",), (), {0: 0, 1: 2}),
        (("other", "b"), ("a=other",), {0: 0, 1: 1, 2: 2}),
    ],
)
def test_head_rows_follow_the_names_of_their_classes(model, names, renamed, pairs):
    config, given = model
    found, origin = start(config.model_copy(update={"renamed": renamed}), *names)
    initial = make_arrays(len(names), seed=1)
    for name in ("heads.cls.0.weight", "heads.cls.0.bias"):
        expected = rows(initial[name], len(names)).copy()
        for here, there in pairs.items():
            expected[:, here] = rows(given[name], 3)[:, there]
        assert np.array_equal(rows(found[name], len(names)), expected)
    for name in given.keys() - {"heads.cls.0.weight", "heads.cls.0.bias"}:
        assert np.array_equal(found[name], given[name])
    assert origin["classes"] == [names[label - 1] for label in pairs if label]
    assert origin["skipped"] == origin["initial"] == []


def test_heads_without_a_common_class_stay_initial_with_a_warning(model, caplog):
    config, given = model
    heads = {"heads.cls.0.weight", "heads.cls.0.bias"}
    found, origin = start(config, "x", "y", "z")
    for name, array in make_arrays(3, seed=1).items():
        assert np.array_equal(found[name], array if name in heads else given[name])
    assert set(origin["skipped"]) == set(origin["initial"]) == heads
    assert origin["classes"] == []
    [warning] = [record for record in caplog.records if record.levelname == "WARNING"]
    assert "has no class of the data set" in warning.message
    assert "its classes are a, b, c; map them with train.init.renamed" in warning.message


@pytest.mark.parametrize("entry", ["a", "a=", "=b", "a=b=c"])
def test_a_renaming_names_a_class_of_either_side(model, entry):
    config, _ = model
    with pytest.raises(UsageError, match="unknown class '.*'; known: a, b"):
        start(config.model_copy(update={"renamed": (entry,)}), "a", "b")


@pytest.mark.parametrize(
    ("scope", "parts"),
    [("backbone", ("backbone.",)), ("without-heads", ("backbone.", "extras."))],
)
def test_a_scope_leaves_the_other_parts(model, scope, parts, caplog):
    caplog.set_level("INFO")
    config, given = model
    found, origin = start(config.model_copy(update={"scope": scope}), "a", "b", "c")
    loaded = {name for name in given if name.startswith(parts)}
    for name, array in make_arrays(3, seed=1).items():
        assert np.array_equal(found[name], given[name] if name in loaded else array)
    assert set(origin["loaded"]) == loaded
    assert set(origin["skipped"]) == set(origin["initial"]) == given.keys() - loaded
    assert (
        f"{len(loaded)} arrays loaded, {len(given) - len(loaded)} skipped, "
        f"{len(given) - len(loaded)} left at initial values"
    ) in caplog.text


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("features.0.weight", "backbone.conv1_1.weight"),
        ("features.5.bias", "backbone.conv2_1.bias"),
        ("5.bias", "backbone.conv2_1.bias"),
        ("backbone.conv2_1.bias", "backbone.conv2_1.bias"),
    ],
)
def test_a_file_of_vgg16_may_number_its_layers(tmp_path, theirs, ours):
    array = np.full_like(make_arrays(1, seed=1)[ours], 7)
    # What is not used may be broken: torchvision's VGG16 for detectors has no classifier.
    others = {"classifier.0.weight": np.full(3, np.nan, np.float32)}
    config = write_file(tmp_path / "vgg.safetensors", {theirs: array} | others)
    found, origin = start(config, "a")
    assert np.array_equal(found[ours], array)
    assert (origin["loaded"], origin["skipped"]) == ([ours], ["classifier.0.weight"])


@pytest.mark.parametrize("change", [lambda array: array[:1], lambda array: array.astype(np.int32)])
def test_arrays_of_another_shape_or_kind_stay_at_their_initial_values(tmp_path, change):
    given = make_arrays(1, seed=2)
    given["extras.0.conv1.weight"] = change(given["extras.0.conv1.weight"])
    found, origin = start(write_file(tmp_path / "w.safetensors", given), "a")
    assert origin["initial"] == origin["skipped"] == ["extras.0.conv1.weight"]
    assert np.array_equal(found["extras.0.conv1.weight"], make_arrays(1, 1)[origin["initial"][0]])


def test_halves_become_the_type_of_the_network(tmp_path):
    given = {name: array.astype(np.float16) for name, array in make_arrays(1, seed=2).items()}
    found, _ = start(write_file(tmp_path / "w.safetensors", given), "a")
    assert {array.dtype for array in found.values()} == {np.dtype(np.float32)}


def test_the_digest_is_that_of_the_file(model, tmp_path):
    config, given = model
    file = write_file(tmp_path / "w.safetensors", given)
    expected = hashlib.sha256((tmp_path / "weights.safetensors").read_bytes()).hexdigest()
    elsewhere = InitConfig(source="s3://nowhere/w.safetensors", sha256=expected)
    for each in (config, file, elsewhere):
        assert InitialWeights(each).sha256 == expected
    assert InitialWeights(InitConfig()).sha256 == ""


def test_a_file_is_read_once_for_its_digest_and_its_arrays(tmp_path):
    weights = InitialWeights(write_file(tmp_path / "w.safetensors", make_arrays(1, seed=2)))
    sha256 = weights.sha256
    (tmp_path / "w.safetensors").unlink()
    learner, classes = Holder(1), make_classes("a")
    origin = weights.load(learner, describe_model().model, classes)  # type: ignore[arg-type]
    assert origin["sha256"] == sha256
    assert origin["initial"] == []


@pytest.mark.parametrize(
    ("scope", "names"),
    [("all", ["anchors.1.stride", "mean", "variances"]), ("backbone", ["mean"])],
)
def test_other_inputs_and_outputs_of_the_weights_are_named(model, scope, names, caplog):
    config, _ = model
    learner, classes, here = Holder(3), make_classes("a", "b", "c"), describe_model().model
    first, second, *rest = here.anchors
    anchors = (first, second.model_copy(update={"stride": 7.0}), *rest)
    changes = {"mean": (1.0, 2.0, 3.0), "variances": (0.1, 0.1), "background_bias": 7.0}
    InitialWeights(config.model_copy(update={"scope": scope})).load(
        learner,  # type: ignore[arg-type]
        here.model_copy(update={**changes, "anchors": anchors}),
        classes,
    )
    [warning] = [record for record in caplog.records if record.levelname == "WARNING"]
    old = here.model_dump(mode="json") | {"anchors.1.stride": second.stride}
    new = changes | {"anchors.1.stride": 7.0}
    for name in names:
        change = f"train.model.{name}: {json.dumps(old[name])} -> {json.dumps(new[name])}"
        assert change in warning.message
    assert warning.message.count(" -> ") == len(names)


BROKEN = {"backbone.conv1_1.bias": np.full(2, np.inf, np.float32)}


@pytest.mark.parametrize(
    ("arrays", "changes", "error", "message"),
    [
        ({}, {}, DataError, "none of its 0 arrays fits this network"),
        (BROKEN, {}, DataError, r"'backbone\.conv1_1\.bias' .* not finite"),
        (BROKEN, {"sha256": "0" * 64}, DataError, r"expected train\.init\.sha256=0000"),
        (BROKEN, {"renamed": ("x=a",)}, UsageError, "unknown class 'x'; known: none"),
    ],
)
def test_unusable_weights_are_refused(tmp_path, arrays, changes, error, message):
    config = write_file(tmp_path / "w.safetensors", arrays)
    with pytest.raises(error, match=message):
        start(config.model_copy(update=changes), "a")


@pytest.mark.parametrize("name", ["none", "none.safetensors"])
def test_missing_weights_are_named(tmp_path, name):
    weights = InitialWeights(InitConfig(source=str(tmp_path / name)))
    with pytest.raises(UsageError, match=f"{name} does not exist; expected "):
        _ = weights.sha256


def test_a_recipe_names_the_weights_that_it_expects(caplog):
    config = InitConfig(expected="a VGG16")
    assert start(config, "a")[1] == {}
    assert "from random weights, but the recipe expects a VGG16; give --init FILE" in caplog.text
