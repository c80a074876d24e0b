"""A training step: its memory, its errors, and no wait for the device."""

from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch

from ssd_core.backends.torch.backend import TorchBackend
from ssd_core.backends.torch.devices import Device, open_device
from ssd_core.backends.torch.learner import TorchLearner
from ssd_core.config import PostprocessSpec
from ssd_core.errors import UsageError
from ssd_core.recipes import RECIPES, load_recipe
from ssd_core.recipes.overrides import override
from ssd_core.structures import Batch
from tests.backends.torch.aten_calls import READ_BY_THE_HOST, AtenCalls

RECIPE = load_recipe("demo").train
SIZE = RECIPE.model.image_size


def make_batch(size=SIZE):
    rng = np.random.default_rng(0)
    boxes, labels = np.zeros((2, 8, 4), np.float32), np.zeros((2, 8), np.int64)
    boxes[:, 0], labels[:, 0] = (0.2, 0.3, 0.5, 0.7), (1, 2)
    images = rng.integers(0, 256, (2, size, size, 3), dtype=np.uint8)
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
        learner.step(replace(make_batch(), labels=np.zeros((2, 7), np.int64)), 0.01)


def test_an_error_of_one_shard_is_that_of_the_step():
    """The other shard waits meanwhile, for the sums of its backward pass."""
    threads = torch.get_num_threads()
    try:
        config = RECIPE.model_copy(update={"virtual_shards": 2})
        learner = TorchBackend("cpu", "fp32").learner(config, 3)
        batch = make_batch()
        batch.labels[1, 0] = 99
        with pytest.raises(IndexError, match="99"):
            learner.step(batch, 0.01)
    finally:
        torch.set_num_threads(threads)


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


class Elsewhere(Device):
    """A device without memory: its tensors have no values, so the host cannot read or compute one.

    It lacks fused optimizers, and every other type of autocast is that of a processor.
    """

    def autocast(self, precision):
        return nullcontext()


def record_step(device, recipe, *options):
    config = override(load_recipe(recipe), options).train
    learner = TorchLearner(config, 3, device=device, precision="fp32")
    batch = make_batch(config.model.image_size)
    with AtenCalls() as calls:
        learner.step(batch, 0.01)
    return calls


def test_a_detector_casts_its_weights_once():
    """A learner's casts them in each call, because they may have changed."""
    backend = TorchBackend("cpu", "bf16")
    learner = backend.learner(RECIPE, 3)
    kept = backend.detector(RECIPE.model, 3, learner.weights(), PostprocessSpec())
    inputs = kept.preprocess(make_batch().images)
    outputs, casts = [], []
    for detector in (learner.detector(PostprocessSpec()), kept):
        with AtenCalls() as calls:
            outputs.append(detector.forward(inputs))
        casts.append(calls.names.count("to"))
    assert all(map(torch.equal, *outputs))
    convolutions = [name for name, array in learner.weights().items() if array.ndim == 4]
    assert casts[0] - casts[1] >= len(convolutions)


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_step_copies_its_batch_and_reads_nothing_back(recipe):
    device = Elsewhere(
        name="elsewhere",
        torch_device=torch.device("meta"),
        synchronize=lambda: None,
        auto_precision="fp32",
        collectives="none",
        has_fused_optimizers=False,
    )
    options = (
        "train.optimizer.name=sgd",
        "train.optimizer.clip_norm=1",
        "train.loss_scale.start=8",
    )
    calls = record_step(device, recipe, *options, "train.model.initial_weights=he")
    assert calls.copies == [("cpu", "meta")] * 3
    assert not READ_BY_THE_HOST & set(calls.names)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_a_fused_update_leaves_the_decision_about_overflows_to_the_device(name):
    options = (f"train.optimizer.name={name}", "train.loss_scale.growth_interval=4")
    calls = record_step(open_device("cpu"), "demo", *options)
    assert not READ_BY_THE_HOST & set(calls.names)
