"""Frozen parts keep their values, and everything else learns."""

import numpy as np
import pytest

from ssd_core.backends import open_backend
from ssd_core.backends.freezing import find_frozen
from ssd_core.errors import UsageError
from ssd_core.networks import STAGES
from ssd_core.recipes import RECIPES, load_recipe
from ssd_core.recipes.overrides import override
from ssd_core.structures import Batch
from tests.requirements import INSTALLED_FRAMEWORKS, PYTORCH_ALONE

SIZE = 128
OBJECTS = ((0.53, 0.14), (0.56, 0.34), (0.62, 0.66), (0.4, 0.8))
"""Centre and side of one object per level, so that every layer has a gradient."""
STATISTICS = (".mean", ".variance")


def make_config(*changes):
    changes = (f"model.image_size={SIZE}", *changes)
    return override(load_recipe("demo"), [f"train.{each}" for each in changes]).train


def make_batch(seed):
    images = np.random.default_rng(seed).integers(0, 256, (2, SIZE, SIZE, 3), np.uint8)
    boxes = [[[centre - side / 2] * 2 + [centre + side / 2] * 2 for centre, side in OBJECTS]] * 2
    return Batch(
        images=images,
        boxes=np.array(boxes, np.float32),
        labels=np.ones((2, len(OBJECTS)), np.int64),
    )


def is_in_stages(name):
    return name.startswith(("backbone.stem.", "backbone.blocks.0."))


FROZEN = {
    "stages": (["freeze.stages=2"], is_in_stages),
    "names": (
        ["freeze.names=heads.bbox.*,*.norm.mean,*.norm.variance", "optimizer.name=sgd"],
        lambda name: name.startswith("heads.bbox.") or name.endswith(STATISTICS),
    ),
}


@pytest.mark.parametrize(("changes", "is_frozen"), FROZEN.values(), ids=FROZEN)
@pytest.mark.parametrize("framework", INSTALLED_FRAMEWORKS)
def test_frozen_arrays_stay_and_all_others_change(framework, changes, is_frozen):
    learner = open_backend(framework, "cpu", "fp32").learner(make_config(*changes), 2)
    before = learner.weights()
    for step in range(2):
        learner.step(make_batch(step), 1e-2)
    after = learner.weights()
    unchanged = {name for name in before if np.array_equal(before[name], after[name])}
    assert unchanged == {name for name in before if is_frozen(name)}
    kept_state = {name.split("/")[2] for name in learner.state() if name.startswith("optimizer/")}
    assert kept_state == {
        name for name in before if not (is_frozen(name) or name.endswith(STATISTICS))
    }


def test_statistics_may_go_on():
    names = {"backbone.stem.norm.scale", "backbone.stem.norm.mean", "heads.cls.0.bias"}
    config = make_config("freeze.stages=1", "freeze.statistics=false")
    assert find_frozen(config, names) == {"backbone.stem.norm.scale"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["freeze.stages=7"], "train.freeze.stages=7: backbone 'residual' has 6 stages"),
        (["freeze.names=neck.*"], r"train.freeze.names: 'neck\.\*' fits no array"),
        (["freeze.names=*"], "train.freeze leaves no weight to train"),
    ],
)
@pytest.mark.parametrize("framework", INSTALLED_FRAMEWORKS)
def test_parts_that_do_not_exist_are_refused(framework, changes, message):
    with pytest.raises(UsageError, match=message):
        open_backend(framework, "cpu", "fp32").learner(make_config(*changes), 2)


@pytest.mark.parametrize(
    "name",
    [name for name in RECIPES if "torch" in INSTALLED_FRAMEWORKS or name not in PYTORCH_ALONE],
)
def test_the_stages_of_a_backbone_are_all_of_it(name):
    config = load_recipe(name).train
    names = set(open_backend(INSTALLED_FRAMEWORKS[0], "cpu").arrays(config.model, 20))
    frozen = set()
    for stages in range(1, len(STAGES[config.model.backbone]) + 1):
        before = frozen
        freeze = config.freeze.model_copy(update={"stages": stages})
        frozen = find_frozen(config.model_copy(update={"freeze": freeze}), names)
        assert before < frozen
    assert frozen == {each for each in names if each.startswith("backbone.")}
