"""Recipes and overrides resolved into one dict per stage."""

import json
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import yaml

from ssd_core.config import Recipe, Section, TrainConfig, parse_section
from ssd_core.errors import UsageError
from ssd_core.recipes import RECIPES, load_recipe
from ssd_core.recipes.overrides import override
from ssd_core.stages import resolve_config
from ssd_core.stages.resolve_config import STAGES
from ssd_core.store import LocalDirectory
from tests.small_model import describe_model, write_small_model


@pytest.mark.parametrize("name", RECIPES)
def test_sections_restore_the_recipe(name: str) -> None:
    """Also as Kubeflow Pipelines passes them, where every number is a double."""
    recipe = load_recipe(name)
    sections = json.loads(json.dumps(resolve_config.run(name)), parse_int=float)
    assert tuple(sections) == ("recipe", *STAGES)
    assert parse_section(Recipe, sections["recipe"], "") == recipe
    for stage in STAGES:
        kind = type(getattr(recipe, stage))
        assert parse_section(kind, sections[stage], stage) == getattr(recipe, stage)


@pytest.mark.parametrize(
    "overrides",
    [
        ["train.steps=10", 'convert.classes=["a"]', "convert.val=x=y", "train.evaluate_every=null"],
        {"train.steps": 10.0, "convert.classes": ["a"], "convert.val": "x=y"},
        {"train.steps": "10", "convert.classes": '["a"]', "convert.val": "x=y"},
    ],
)
def test_overrides(overrides: list[str] | dict[str, object]) -> None:
    sections = resolve_config.run("demo", overrides)
    assert sections["recipe"]["train"]["steps"] == 10
    assert sections["convert"]["classes"] == ["a"]
    assert sections["convert"]["val"] == "x=y"
    assert "evaluate_every" not in sections["recipe"]["train"]


def test_the_recipe_of_a_model_is_used(tmp_path: Path) -> None:
    """Its name need not be listed."""
    description = describe_model()
    recipe = description.recipe.model_copy(update={"name": "gone"})
    model = description.model_copy(update={"recipe": recipe})
    write_small_model(tmp_path, {"w": np.zeros(1, np.float32)}, model)
    sections = resolve_config.run("", ["evaluate.batch_size=3"], model_dir=LocalDirectory(tmp_path))
    assert parse_section(Recipe, sections["recipe"], "").name == "gone"
    assert sections["evaluate"]["batch_size"] == 3


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
        (None, "the file does not exist"),
        (b"{", "neither JSON nor YAML"),
        (b"\xff", "neither JSON nor YAML"),
        (b"[]", "expected a recipe as `ssd recipes NAME` prints it"),
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


def test_sections_contain_no_null() -> None:
    """Parameters of Kubeflow Pipelines cannot contain null."""
    assert "null" not in json.dumps(resolve_config.run("ssd300_vgg16"))


def test_none_is_the_default_of_every_optional_field() -> None:
    """So the omission of None does not change a section."""
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
        ("dmo", (), "unknown recipe 'dmo'; did you mean 'demo'?"),
        ("demo", ["train.epoch=3"], "unknown key 'train.epoch'; did you mean 'train.epochs'?"),
        ("demo", {"trai.epochs": 3}, "unknown section 'trai'; did you mean 'train'?"),
        ("demo", {"train.steps": 2.5}, "train.steps"),
        ("demo", ["train.steps"], "'train.steps' is not of the form section.key=value"),
    ],
)
def test_an_invalid_argument_is_named(
    recipe: str, overrides: list[str] | dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError) as error:
        resolve_config.run(recipe, overrides)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
