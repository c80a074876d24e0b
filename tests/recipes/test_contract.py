"""Every recipe gives the network of its source, which learns, continues and detects."""

import math
from typing import NamedTuple

import numpy as np
import pytest
import torch

from ssd_core.backends import open_backend
from ssd_core.backends.torch.model import Ssd
from ssd_core.config import PostprocessOverrides
from ssd_core.data.shards.reader import open_split
from ssd_core.detection.anchors import generate_anchors
from ssd_core.recipes import RECIPES, load_recipe
from ssd_core.recipes.overrides import override
from ssd_core.stages.feed import open_loader
from ssd_core.store import LocalDirectory

NUM_CLASSES = 3
NUM_STEPS = 3


class Source(NamedTuple):
    """Figures of the network that a recipe takes over."""

    anchors: int
    parameters: int
    num_classes: int = 80
    """For which the parameters are counted, without the background."""
    training_size: int | None = None
    """Side of smaller images that the same layers can train on in less time."""


SOURCES = {
    "demo": Source(5440, 870_272, num_classes=3),
    "ssd300_vgg16": Source(8732, 35_641_826, num_classes=90),  # torchvision
    "ssd300_vgg16_voc": Source(8732, 35_641_826, num_classes=90),
    "ssd512_vgg16": Source(24564, 36_038_196),
    "ssd512_vgg16_voc": Source(24564, 36_038_196),
    "ssd300_vgg16_mindspore": Source(7308, 24_305_589),
    "ssd300_vgg16_mindspore_gpu": Source(7308, 24_305_589),
    "ssd300_mobilenet_v1": Source(1917, 11_294_517),
    "ssd300_mobilenet_v2": Source(1917, 4_393_461),
    "ssd300_resnet50": Source(8732, 22_894_902),  # built in tests/layouts/test_nvidia.py
    "ssdlite320_mobilenet_v2": Source(3234, 4_228_788),
    "ssdlite320_mobilenet_v3": Source(3234, 3_440_060, num_classes=90),  # torchvision
    "ssd640_mobilenet_v1_fpn": Source(51150, 12_534_846, training_size=128),
    "ssd640_resnet50_fpn": Source(51150, 33_294_654, training_size=128),
}

NETWORKS = {
    (model.backbone, model.image_size): name
    for name in reversed(RECIPES)
    for model in [load_recipe(name).train.model]
}
"""The first recipe of each network: what else differs is tested by itself."""


@pytest.mark.parametrize("name", RECIPES)
def test_anchors_parameters_and_outputs_are_those_of_the_source(name):
    model, source = load_recipe(name).train.model, SOURCES[name]
    assert len(generate_anchors(model.anchors, model.image_size)) == source.anchors
    with torch.device("meta"):
        network = Ssd(model, source.num_classes)
        logits, offsets = network(torch.empty(2, 3, model.image_size, model.image_size))
    assert sum(math.prod(weights.shape) for weights in network.parameters()) == source.parameters
    assert logits.shape == (2, source.anchors, source.num_classes + 1)
    assert offsets.shape == (2, source.anchors, 4)


@pytest.mark.parametrize("name", NETWORKS.values())
def test_a_recipe_learns_from_random_weights_and_detects(name, bccd_shards):
    """At half its rate, without a warm-up; its state travels."""
    recipe = load_recipe(name)
    side = SOURCES[name].training_size or recipe.train.model.image_size
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
