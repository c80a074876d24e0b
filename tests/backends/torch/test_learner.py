from dataclasses import replace

import numpy as np
import pytest

from ssd_core.backends.torch.backend import TorchBackend
from ssd_core.config import PostprocessSpec
from ssd_core.errors import UsageError
from ssd_core.recipes import load_recipe
from ssd_core.structures import Batch

RECIPE = load_recipe("demo").train
SIZE = RECIPE.model.image_size


def make_batch():
    rng = np.random.default_rng(0)
    boxes, labels = np.zeros((2, 8, 4), np.float32), np.zeros((2, 8), np.int64)
    boxes[:, 0], labels[:, 0] = (0.2, 0.3, 0.5, 0.7), (1, 2)
    images = rng.integers(0, 256, (2, SIZE, SIZE, 3), dtype=np.uint8)
    return Batch(images=images, boxes=boxes, labels=labels)


def too_many_images():
    """Return images that take one byte here, and more than any memory when they are copied."""
    shape = (2**34, SIZE, SIZE, 3)
    return np.lib.stride_tricks.as_strided(np.zeros(1, np.uint8), shape, strides=(0, 0, 0, 0))


def test_a_batch_that_does_not_fit_into_the_memory_is_explained():
    learner = TorchBackend("cpu", "fp32").learner(RECIPE, 3)
    batch = replace(make_batch(), images=too_many_images())
    message = "does not have enough memory for this batch; choose a smaller"
    with pytest.raises(UsageError, match=message):
        learner.step(batch, 0.01)
    with pytest.raises(UsageError, match=message):
        learner.detector(PostprocessSpec()).preprocess(batch.images)


def test_other_errors_of_torch_pass_through():
    learner = TorchBackend("cpu", "fp32").learner(RECIPE, 3)
    with pytest.raises(RuntimeError, match="size"):
        learner.step(replace(make_batch(), labels=np.zeros((3, 8), np.int64)), 0.01)


def weights_after_a_step(precision="fp32", **optimizer):
    changed = RECIPE.optimizer.model_copy(update=optimizer)
    config = RECIPE.model_copy(update={"optimizer": changed})
    learner = TorchBackend("cpu", precision).learner(config, 3)
    return learner.step(make_batch(), 0.01)(), learner.weights()


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_weight_decay_of_norms_and_biases_is_optional(name):
    _, plain = weights_after_a_step(name=name, weight_decay=0.0)
    _, spared = weights_after_a_step(name=name, weight_decay=0.5, decay_norms_and_biases=False)
    _, decayed = weights_after_a_step(name=name, weight_decay=0.5, decay_norms_and_biases=True)
    changed = {key for key in plain if not np.array_equal(plain[key], spared[key])}
    assert changed == {key for key in plain if plain[key].ndim == 4}
    changed = {key for key in plain if not np.array_equal(plain[key], decayed[key])}
    assert {"backbone.stem.norm.scale", "backbone.stem.conv.weight"} <= changed
