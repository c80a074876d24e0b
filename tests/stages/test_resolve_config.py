"""One dict a stage, checked before anything runs."""

import json
from typing import get_args

import pytest

from ssd_core.config import Recipe, Section, TrainConfig, parse_section
from ssd_core.errors import UsageError
from ssd_core.recipes import RECIPES, load_recipe
from ssd_core.stages import resolve_config
from ssd_core.stages.resolve_config import STAGES


@pytest.mark.parametrize("name", RECIPES)
def test_sections_give_the_recipe_back(name: str) -> None:
    """Also after a way through Kubeflow Pipelines, where every number is a double."""
    recipe = load_recipe(name)
    sections = json.loads(json.dumps(resolve_config.run(name)), parse_int=float)
    assert tuple(sections) == STAGES
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
    assert sections["train"]["steps"] == 10
    assert sections["convert"]["classes"] == ["a"]
    assert sections["convert"]["val"] == "x=y"
    assert "evaluate_every" not in sections["train"]


def test_nothing_is_null() -> None:
    """kfp.local refuses null inside a parameter."""
    assert "null" not in json.dumps(resolve_config.run("ssd300_vgg16"))


def test_what_may_be_absent_is_absent_by_default() -> None:
    """So leaving a null out does not change its meaning."""
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
def test_wrong_words(recipe: str, overrides: list[str] | dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=r".") as error:
        resolve_config.run(recipe, overrides)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
