"""A recipe and its overrides, resolved."""

import json
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import yaml

from ssd_core.config import Recipe, Section, TrainConfig
from ssd_core.errors import UsageError
from ssd_core.recipes import load_recipe
from ssd_core.recipes.overrides import override
from ssd_core.stages import resolve_config
from ssd_core.store import LocalDirectory
from tests.small_model import describe_model, write_small_model


def test_overrides() -> None:
    recipe = resolve_config.run("demo", ["train.steps=10", "train.evaluate_every=null"])
    assert (recipe.train.steps, recipe.train.evaluate_every) == (10, None)
    assert resolve_config.run("demo") == load_recipe("demo")


def test_the_recipe_of_a_model_is_used(tmp_path: Path) -> None:
    """Its name need not be listed."""
    description = describe_model()
    recipe = description.recipe.model_copy(update={"name": "gone"})
    model = description.model_copy(update={"recipe": recipe})
    write_small_model(tmp_path, {"w": np.zeros(1, np.float32)}, model)
    found = resolve_config.run("", ["evaluate.batch_size=3"], model_dir=LocalDirectory(tmp_path))
    assert (found.name, found.evaluate.batch_size) == ("gone", 3)


def test_the_training_of_a_model_cannot_change(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot change a model that is already trained"):
        resolve_config.run("", ["train.epochs=3"], model_dir=LocalDirectory(tmp_path))


@pytest.mark.parametrize("suffix", ["json", "yaml"])
def test_a_recipe_is_read_from_a_file(tmp_path: Path, suffix: str) -> None:
    recipe = override(load_recipe("demo"), ["train.steps=7"])
    values = recipe.model_dump(mode="json")
    text = json.dumps(values) if suffix == "json" else yaml.safe_dump(values)
    (tmp_path / f"recipe.{suffix}").write_text(text)
    assert resolve_config.read_recipe(str(tmp_path / f"recipe.{suffix}")) == recipe


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "does not exist; expected a recipe as 'ssd recipes NAME' prints it"),
        (
            b'{"name": "x",\n "train": {"epochs": 3\n  "steps": 4}}',
            "neither JSON nor YAML: line 3 column 10: expected ',' or '}', but got ':'",
        ),
        (b"name: 2024-99-99", "neither JSON nor YAML: is not YAML: month must be in 1..12"),
        (b"[" * 50_000, "neither JSON nor YAML: is nested too deeply"),
        (b"[]", "expected a recipe as 'ssd recipes NAME' prints it"),
        (b"name: x", "description is missing"),
        (b"{name: x, description: y, trian: {}}", "unknown key 'trian'; did you mean 'train'?"),
    ],
)
def test_a_file_that_is_not_a_recipe(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "recipe.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError) as error:
        resolve_config.read_recipe(str(path))
    assert str(error.value) == f"{path}: {message}"


def test_none_is_the_default_of_every_optional_field() -> None:
    """So the omission of None, which a parameter of a pipeline cannot be, changes nothing."""
    kinds: list[type[Section]] = [Recipe]
    for kind in kinds:
        for name, field in kind.model_fields.items():
            if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
                kinds.append(field.annotation)
            elif type(None) in get_args(field.annotation):
                assert field.default is None, f"{kind.__name__}.{name}"
    assert TrainConfig in kinds
    assert type(None) in get_args(TrainConfig.model_fields["evaluate_every"].annotation)


@pytest.mark.parametrize(
    ("recipe", "overrides", "message"),
    [
        ("dmo", [], "unknown recipe 'dmo'; did you mean 'demo'?"),
        ("demo", ["train.epoch=3"], "unknown key 'train.epoch'; did you mean 'train.epochs'?"),
        ("demo", ["trai.epochs=3"], "unknown section 'trai'; did you mean 'train'?"),
        ("demo", ["train.steps=2.5"], "train.steps"),
        ("demo", ["train.steps"], "'train.steps' is not of the form section.key=value"),
    ],
)
def test_an_invalid_argument_is_named(recipe: str, overrides: list[str], message: str) -> None:
    with pytest.raises(UsageError) as error:
        resolve_config.run(recipe, overrides)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
