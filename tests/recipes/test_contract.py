"""Every recipe gives the network of its source, which learns, continues, detects and travels."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from ssd_core.backends import open_backend
from ssd_core.backends.torch.model import Ssd
from ssd_core.config import PostprocessOverrides
from ssd_core.data.shards.reader import open_split
from ssd_core.detection.anchors import generate_anchors
from ssd_core.model_dir import write_model
from ssd_core.recipes import RECIPES, load_recipe
from ssd_core.recipes.facts import FACTS, describe_recipes, format_figures
from ssd_core.recipes.overrides import override
from ssd_core.stages import export
from ssd_core.stages.feed import open_loader
from ssd_core.store import LocalDirectory
from ssd_core.structures import ClassInfo
from tests.small_model import describe_model

ROOT = Path(__file__).parents[2]
NUM_CLASSES = 3
NUM_STEPS = 3
TRAINING_SIDES = {
    "ssd300_vgg16": 260,
    "ssd512_vgg16": 260,
    "ssd300_vgg16_mindspore": 260,
    "ssd300_resnet50": 260,
    "ssd640_mobilenet_v1_fpn": 128,
    "ssd640_resnet50_fpn": 128,
}
"""Sides of smaller images that the same layers can train on in less time: for those without padding
the smallest."""

PHOTOGRAPH = LocalDirectory(sorted((ROOT / "examples/bccd/JPEGImages").glob("*.jpg"))[0])

NETWORKS = {
    (model.backbone, model.image_size): name
    for name in reversed(RECIPES)
    for model in [load_recipe(name).train.model]
}
"""The first recipe of each network: what else differs is tested by itself."""


def count(name, num_classes):
    """Return parameters, operations in 1e9 for one image, and shapes of the outputs."""
    model = load_recipe(name).train.model
    with torch.device("meta"):
        network = Ssd(model, num_classes).eval()
        with FlopCounterMode(display=False) as counter:
            outputs = network(torch.empty(1, 3, model.image_size, model.image_size))
    parameters = sum(math.prod(weights.shape) for weights in network.parameters())
    return parameters, counter.get_total_flops() / 1e9, [tuple(each.shape) for each in outputs]


@pytest.mark.parametrize("name", RECIPES)
def test_the_figures_are_those_of_the_network(name):
    facts, model = FACTS[name], load_recipe(name).train.model
    assert len(generate_anchors(model.anchors, model.image_size)) == facts.anchors
    parameters, gflop, shapes = count(name, 80)
    assert (parameters, round(gflop, 2)) == (facts.parameters, facts.gflop)
    assert shapes == [(1, facts.anchors, 81), (1, facts.anchors, 4)]


@pytest.mark.parametrize(
    ("name", "parameters", "operations"),
    [("ssd300_vgg16", 35_641_826, 34.858), ("ssdlite320_mobilenet_v3", 3_440_060, 0.583)],
)
def test_torchvision_publishes_the_same_figures(name, parameters, operations):
    """For its 90 classes; a multiply-add counts there as one operation."""
    found, gflop, _ = count(name, 90)
    assert found == parameters
    assert gflop / 2 == pytest.approx(operations, abs=5e-4)


def test_the_documented_table_is_that_of_the_facts():
    page = (ROOT / "docs" / "recipes.md").read_text()
    for described in describe_recipes():
        name, *figures = map(str.strip, format_figures(described))
        cells = (f"`{name}`", described["description"], *figures, f"`{described['command']}`")
        assert f"\n| {' | '.join(cells)} |\n" in page


def assert_state_travels(backend, config, learner):
    restored = backend.learner(config.model_copy(update={"seed": 1}), NUM_CLASSES)
    restored.load_state(learner.state())
    state = restored.state()
    for key, array in learner.state().items():
        np.testing.assert_array_equal(state[key], array, err_msg=key)


def assert_detects(backend, model, weights):
    """At the full size of the network."""
    limits = PostprocessOverrides(score_threshold=1e-3, topk_candidates=50)
    detector = backend.detector(model, NUM_CLASSES, weights, limits.apply(model.postprocess))
    images = np.random.default_rng(0).integers(0, 256, (1, *[model.image_size] * 2, 3), np.uint8)
    found = detector.detect(images, [(640, 480)])[0]
    assert len(found)
    assert set(found.labels) <= set(range(1, NUM_CLASSES + 1))
    assert (found.boxes >= 0).all()
    assert (found.boxes <= [640, 480, 640, 480]).all()


def assert_exports(recipe, weights, folder):
    """As the format that takes the least time; a file that computes something else is refused."""
    model, out = LocalDirectory(folder / "model"), LocalDirectory(folder / "exported")
    description = describe_model(num_classes=NUM_CLASSES).model_copy(update={"recipe": recipe})
    classes = [
        ClassInfo(label=label, name=str(label), category_id=label)
        for label in range(1, NUM_CLASSES + 1)
    ]
    write_model(model, description, classes, weights)
    result = export.run(model, out, format_name="torchscript", images=[PHOTOGRAPH])
    assert result.metrics["max_score_difference"] < 1e-4


@pytest.mark.parametrize("name", NETWORKS.values())
def test_a_recipe_learns_from_random_weights_and_detects(name, bccd_shards, tmp_path):
    """At half its rate, without a warm-up; its state travels, and its network is exported."""
    recipe = load_recipe(name)
    side = TRAINING_SIDES.get(name) or recipe.train.model.image_size
    small = override(recipe, ["train.batch_size=2", f"train.model.image_size={side}"])
    split = open_split(LocalDirectory(bccd_shards), "train")
    batch = next(iter(open_loader(small.train, split).batches(0, 1)))
    backend, rate = open_backend("torch", "cpu", "fp32"), small.train.optimizer.learning_rate / 2
    learner = backend.learner(small.train, NUM_CLASSES)
    losses = [learner.step(batch, rate)()["loss"] for _ in range(NUM_STEPS)]
    assert losses[-1] < losses[0]

    assert_state_travels(backend, small.train, learner)
    assert_detects(backend, recipe.train.model, learner.weights())
    assert_exports(small, learner.weights(), tmp_path)
