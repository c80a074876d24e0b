"""Configuration: what is accepted, and what a mistake is told."""

import pytest

from ssd_core.config import AnchorSpec, TrainConfig, differences, override, parse_section
from ssd_core.errors import UsageError
from ssd_core.recipes import RECIPES, load_recipe


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_survives_plain_values(name: str) -> None:
    """Sections travel through Kubeflow as JSON, where every number is a double."""
    train = load_recipe(name).train
    plain = train.model_dump(mode="json")
    plain["batch_size"] = float(plain["batch_size"])
    assert parse_section(TrainConfig, plain, "train") == train


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_is_called_what_it_is_listed_as(name: str) -> None:
    assert load_recipe(name).name == name


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("train.epoch=3", "unknown key 'train.epoch'; did you mean 'train.epochs'?"),
        (
            "train.augment.hues=3",
            "unknown key 'train.augment.hues'; did you mean 'train.augment.hue'?",
        ),
        ("trian.epochs=3", "unknown section 'trian'; did you mean 'train'?"),
        ("train.model.anchor.x=3", "unknown section 'train.model.anchor'; did you mean"),
        ("train.epochs=many", 'train.epochs: input should be a valid number, .*, got "many"'),
        ("train.batch_size=5.5", "train.batch_size: input should be a valid integer, .*, got 5.5"),
        ("train.batch_size=0", "train.batch_size: input should be greater than 0, got 0"),
        ("train.schedule.name=cos", "input should be 'step' or 'cosine', got \"cos\""),
        ("train.epochs", "'train.epochs' is not of the form section.key=value"),
        ("train.model.anchors.strides=[8]", "must have one entry a level each"),
        ("train.model.anchors.strides=[]", "train.model.anchors.strides: "),
        ("train.model.anchors.strides=[8, 16, 32, 0]", "strides.3: input should be greater than 0"),
        ("train.model.anchors.ratios=[[2], [2], [2], [-2]]", "ratios.3.0: input should be greater"),
        ("train.model.std=[1, 0, 1]", "train.model.std.1: input should be greater than 0"),
        ("train.schedule.milestones=[80]", "milestones.0: input should be less than or equal to 1"),
        ("evaluate.postprocess.score_threshold=NaN", "input should be a finite number"),
    ],
)
def test_override_explains_a_mistake(assignment: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        override(load_recipe("demo"), [assignment])


def test_override_takes_json_and_plain_text() -> None:
    recipe = override(
        load_recipe("demo"),
        [
            "train.epochs=12",
            "train.schedule.name=step",
            "train.schedule.milestones=[0.5, 0.9]",
            "train.optimizer.decay_norms_and_biases=true",
            "convert.val=a=b",
            "train.epochs=13",
        ],
    )
    assert recipe.train.epochs == 13
    assert recipe.train.schedule.milestones == (0.5, 0.9)
    assert recipe.train.optimizer.decay_norms_and_biases is True
    assert recipe.convert.val == "a=b"


def test_override_leaves_the_rest_alone() -> None:
    recipe = load_recipe("demo")
    assert override(recipe, []) == recipe


def test_missing_value_is_named() -> None:
    with pytest.raises(UsageError, match=r"train\.model is missing"):
        parse_section(TrainConfig, {}, "train")


def test_unknown_recipe() -> None:
    with pytest.raises(UsageError, match="unknown recipe 'ssd300'; did you mean 'ssd300_vgg16'"):
        load_recipe("ssd300")


def test_differences_name_the_leaves() -> None:
    old = {"a": {"b": 1, "c": "x"}, "d": None}
    new = {"a": {"b": 2, "c": "x"}, "e": [1]}
    assert differences(old, new) == ["a.b: 1 -> 2", "e: null -> [1]"]


def test_anchors_per_cell_of_ssd300() -> None:
    anchors = load_recipe("ssd300_vgg16").train.model.anchors
    assert isinstance(anchors, AnchorSpec)
    assert anchors.boxes_per_cell == (4, 6, 6, 6, 4, 4)
