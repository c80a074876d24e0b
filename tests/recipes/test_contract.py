"""Every recipe gives the network of its source, which learns, continues and detects."""

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
from ssd_core.recipes import RECIPES, load_recipe
from ssd_core.recipes.facts import FACTS, describe_recipes, format_figures
from ssd_core.recipes.overrides import override
from ssd_core.stages.feed import open_loader
from ssd_core.store import LocalDirectory

NUM_CLASSES = 3
NUM_STEPS = 3
TRAINING_SIZES = {"ssd640_mobilenet_v1_fpn": 128, "ssd640_resnet50_fpn": 128}
"""Sides of smaller images that the same layers can train on in less time."""

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
    page = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text()
    for described in describe_recipes():
        name, *figures = map(str.strip, format_figures(described))
        cells = (f"`{name}`", described["description"], *figures, f"`{described['command']}`")
        assert f"\n| {' | '.join(cells)} |\n" in page


@pytest.mark.parametrize("name", NETWORKS.values())
def test_a_recipe_learns_from_random_weights_and_detects(name, bccd_shards):
    """At half its rate, without a warm-up; its state travels."""
    recipe = load_recipe(name)
    side = TRAINING_SIZES.get(name) or recipe.train.model.image_size
    config = override(recipe, ["train.batch_size=2", f"train.model.image_size={side}"]).train
    split = open_split(LocalDirectory(bccd_shards), "train")
    batch = next(iter(open_loader(config, split).batches(0, 1)))
    backend, rate = open_backend("torch", "cpu", "fp32"), config.optimizer.learning_rate / 2
    learner = backend.learner(config, NUM_CLASSES)
    losses = [learner.step(batch, rate)()["loss"] for _ in range(NUM_STEPS)]
    assert losses[-1] < losses[0]

    restored = backend.learner(config.model_copy(update={"seed": 1}), NUM_CLASSES)
    restored.load_state(learner.state())
    state, weights = restored.state(), restored.weights()
    for key, array in learner.state().items():
        np.testing.assert_array_equal(state[key], array, err_msg=key)

    model = config.model
    limits = PostprocessOverrides(score_threshold=1e-3, topk_candidates=50)
    detector = backend.detector(model, NUM_CLASSES, weights, limits.apply(model.postprocess))
    images = np.random.default_rng(0).integers(0, 256, (1, *[model.image_size] * 2, 3), np.uint8)
    found = detector.detect(images, [(640, 480)])[0]
    assert len(found)
    assert set(found.labels) <= set(range(1, NUM_CLASSES + 1))
    assert (found.boxes >= 0).all()
    assert (found.boxes <= [640, 480, 640, 480]).all()
