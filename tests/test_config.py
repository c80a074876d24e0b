"""Configuration: valid values, and messages about invalid ones."""

import pytest

from ssd_core.config import Section, TrainConfig, differences, parse_section
from ssd_core.errors import UsageError
from ssd_core.recipes import RECIPES, load_recipe


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_has_the_name_that_lists_it(name):
    assert load_recipe(name).name == name


def test_a_missing_value_is_named():
    with pytest.raises(UsageError, match=r"train\.model is missing"):
        parse_section(TrainConfig, {}, "train")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"patience": 3}, "train: patience counts evaluations; set evaluate_every"),
        ({"best_metric": "val_loss"}, "train: best_metric 'val_loss' needs validation_loss"),
        ({"all_reduce_fusion": [3, 2]}, "train.all_reduce_fusion: expected ascending indices"),
        ({"all_reduce_fusion": [2, 2]}, "train.all_reduce_fusion: expected ascending indices"),
        ({"virtual_shards": 2, "compile": True}, "train: virtual_shards computes in threads"),
        ({"batch_size": "auto"}, "train.batch_size: .* find it there with 'ssd train --batch-size"),
    ],
)
def test_a_value_that_cannot_work_is_explained(changes, message):
    with pytest.raises(UsageError, match=message):
        parse_section(TrainConfig, load_recipe("demo").train.model_dump() | changes, "train")


class Item(Section):
    name: str = ""


class Box(Section):
    lid: Item | None = None
    items: tuple[Item, ...] = ()


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"lit": {}}, "lid"),
        ({"lid": {"nam": "x"}}, "lid.name"),
        ({"items": [{}, {"nam": "x"}]}, "items.1.name"),
    ],
)
def test_an_unknown_key_is_named_at_any_depth(values, key):
    with pytest.raises(UsageError, match=rf"unknown key 'box\..*'; did you mean 'box\.{key}'\?$"):
        parse_section(Box, values, "box")


def test_differences_name_the_leaves():
    old = {"a": {"b": 1, "c": "x"}, "d": None}
    new = {"a": {"b": 2, "c": "x"}, "e": [1]}
    assert differences(old, new) == ["a.b: 1 -> 2", "e: null -> [1]"]
    levels = [{"stride": 8.0}, {"stride": 16.0}]
    changed = [levels[0], {"stride": 32.0}, {"stride": 64.0}]
    assert differences({"a": levels}, {"a": changed}) == [
        "a.1.stride: 16.0 -> 32.0",
        'a.2: null -> {"stride": 64.0}',
    ]
