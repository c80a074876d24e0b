"""Assignments that change a recipe: accepted values, and the messages about mistakes."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from ssd_core.config import TrainConfig, parse_section
from ssd_core.detection.anchors import generate_anchors
from ssd_core.errors import UsageError
from ssd_core.recipes import load_recipe
from ssd_core.recipes.overrides import override


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("train.epoch=3", "unknown key 'train.epoch'; did you mean 'train.epochs'?"),
        (
            "train.augment.hues=3",
            "unknown key 'train.augment.hues'; did you mean 'train.augment.colours.hue'?",
        ),
        ("trian.epochs=3", "unknown section 'trian'; did you mean 'train'?"),
        ("train.optimizer.lr=3", "key 'train.optimizer.lr'; did you mean '.*r.learning_rate'"),
        ("train.max_epochs=3", "unknown key 'train.max_epochs'; did you mean 'train.epochs'"),
        ("train.bs=3", "unknown key 'train.bs'; did you mean 'train.batch_size'"),
        ("evaluate.hue=3", "unknown key 'evaluate.hue'; did you mean 'train.augment.colours.hue'"),
        ("lr=3", "form section.key=value; did you mean 'train.optimizer.learning_rate=3'"),
        ("train.xyz=3", "unknown key 'train.xyz'; known: train.model, train.augment, "),
        ("train.epochs.x=3", "'train.epochs' is a value, without keys of its own"),
        ("train.model.anchor.x=3", "unknown section 'train.model.anchor'; did you mean"),
        ("train.epochs=many", 'train.epochs: input should be a valid number, .*, got "many"'),
        ("train.batch_size=5.5", "train.batch_size: input should be a valid integer, .*, got 5.5"),
        ("train.batch_size=0", "train.batch_size: input should be greater than 0, got 0"),
        ("train.schedule.name=cos", "input should be 'step' or 'cosine', got \"cos\""),
        ("train.epochs", "'train.epochs' is not of the form section.key=value"),
        ("name=mine", "'name=mine' is not of the form section.key=value"),
        (f"train.steps={'1' * 5000}", "train.steps: unable to parse input string as an integer"),
        (f"train.seed={2**64}", "train.seed: input should be less than 18446744073709551616"),
        ("train=3", "'train=3' is not of the form section.key=value"),
        ("train.model=3", "train.model: input should be a valid dictionary, got 3$"),
        ("train.model.anchors=[]", "train.model.anchors: tuple should have at least 1 item"),
        ('train.model.anchors=[{"stride": 0, "shapes": [[8, 8]]}]', "anchors.0.stride: .*than 0"),
        ('train.model.anchors=[{"stride": 8, "shapes": [[8, -8]]}]', "shapes.0.1: .* than 0"),
        ('train.model.anchors=[{"stride": 8, "shapes": []}]', "shapes: .* at least 1 item"),
        ("train.matching.iou=0.4", "unknown key 'train.matching.iou'; did you mean"),
        ('train.classification_loss={"name": "hinge"}', "input tag 'hinge' .* 'softmax', 'focal'"),
        (
            'train.classification_loss={"name": "focal", "gama": 1}',
            "unknown key 'train.classification_loss.gama'; did you mean .*loss.gamma'",
        ),
        (
            'train.classification_loss={"name": "focal", "alpha": 2}',
            "^train.classification_loss.alpha: input should be less than or equal to 1, got 2$",
        ),
        ("train.start_epoch=20", "^train: start_epoch 20 leaves none of 20 epochs$"),
        (
            'train.augment.colours={"name": "factors", "hue": 1}',
            "unknown key 'train.augment.colours.hue'; did you mean",
        ),
        (
            'train.classification_loss={"name": "focal"}',
            "^train: classification_loss 'focal' needs model.postprocess.scores 'sigmoid'$",
        ),
        ("train.model.std=[1, 0, 1]", "train.model.std.1: input should be greater than 0"),
        ("train.schedule.milestones=[80]", "milestones.0: input should be less than or equal to 1"),
        ("evaluate.postprocess.score_threshold=NaN", "input should be a finite number"),
    ],
)
def test_override_explains_a_mistake(assignment, message):
    with pytest.raises(UsageError, match=message):
        override(load_recipe("demo"), [assignment])


@pytest.mark.parametrize(
    ("text", "expected"), [("1,2", (1, 2)), ("[1, 2]", (1, 2)), ("4", (4,)), ("1, 8", (1, 8))]
)
def test_a_list_needs_no_brackets(text, expected):
    recipe = override(load_recipe("demo"), [f"benchmark.batch_sizes={text}"])
    assert recipe.benchmark.batch_sizes == expected
    assert override(recipe, ["convert.classes=cat,dog"]).convert.classes == ("cat", "dog")


@pytest.mark.parametrize("order", [1, -1])
def test_steps_and_epochs_contradict_each_other(order):
    both = ["train.steps=3", "train.epochs=5"][::order]
    with pytest.raises(UsageError, match="train.steps=3 makes train.epochs meaningless; set one"):
        override(load_recipe("demo"), both)
    short = override(load_recipe("demo"), ["train.steps=3"])
    with pytest.raises(UsageError, match="train.steps=null for epochs"):
        override(short, ["train.epochs=5"])
    assert override(short, ["train.epochs=5", "train.steps=null"]).train.epochs == 5


def test_override_takes_json_and_plain_text():
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
    assert override(recipe, []) == recipe


def test_the_examples_of_the_page_are_accepted():
    page = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text()
    (command,) = re.findall(r"^    (--set .*)$", page, re.MULTILINE)
    assignments = [word for word in shlex.split(command) if word != "--set"]
    assert override(load_recipe("demo"), assignments).train.classification_loss.name == "focal"
    (block,) = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    values: dict[str, Any] = {}
    exec(block, values)
    assert len(generate_anchors(values["anchors"], 300)) == 1917
    model = load_recipe("ssd300_vgg16").train.model.model_copy(
        update={"postprocess": values["postprocess"], "anchors": values["anchors"]}
    )
    parts = {"matching": values["matching"], "classification_loss": values["classification_loss"]}
    train = load_recipe("ssd300_vgg16").train.model_copy(update={"model": model, **parts})
    assert parse_section(TrainConfig, train.model_dump(mode="json"), "train") == train
