"""Train and detect with one framework, so that those of two environments can be compared.

python -m tests.contract.compute FRAMEWORK RECIPE OUT.npz [STATES.npz]

The states before each step are those of STATES, an earlier result, or else of this training itself.
"""

import sys
from pathlib import Path

import cv2
import numpy as np

from ssd_core.backends import open_backend
from ssd_core.recipes import load_recipe
from ssd_core.recipes.overrides import override
from ssd_core.structures import Batch

PHOTOGRAPHS = sorted((Path(__file__).parents[2] / "examples/bccd/JPEGImages").glob("*.jpg"))
NUM_CLASSES = 3
NUM_STEPS = {"ssd300_vgg16": 3, "ssd300_vgg16_mindspore": 3, "ssd640_resnet50_fpn": 3}
"""Of networks whose states are large; of the others ten."""
BATCH_SIZE = 2
RATE = 2e-5
OPTIONS = {
    "demo": (
        "train.loss_scale.start=65536",
        "train.loss_scale.growth_interval=4",
        "train.optimizer.clip_norm=50",
    ),
    "ssd640_resnet50_fpn": ("train.model.image_size=128",),
}
"""Assignments to recipes: options that none of them has, and smaller images for the same layers."""


def configure(recipe):
    options = (f"train.batch_size={BATCH_SIZE}", *OPTIONS.get(recipe, ()))
    return override(load_recipe(recipe), options).train


def make_batch(step, side):
    """Photographs with random boxes, some of them padding; the same for the same step."""
    rng = np.random.default_rng(step)
    paths = PHOTOGRAPHS[step * BATCH_SIZE : (step + 1) * BATCH_SIZE]
    corners, sides = rng.random((2, BATCH_SIZE, 8, 2)) * [[[[0.7]]], [[[0.25]]]]
    boxes = np.concatenate([corners, corners + sides + 0.05], axis=-1)
    return Batch(
        images=np.stack([cv2.resize(cv2.imread(str(path)), (side, side)) for path in paths]),
        boxes=boxes.astype(np.float32),
        labels=rng.integers(0, NUM_CLASSES + 1, (BATCH_SIZE, 8)),
    )


def select(arrays, step):
    """The state before a step, from a result."""
    prefix = f"{step}:"
    return {name.removeprefix(prefix): arrays[name] for name in arrays if name.startswith(prefix)}


def compute(framework, recipe, states):
    config = configure(recipe)
    side, num_steps = config.model.image_size, NUM_STEPS.get(recipe, 10)
    learner = open_backend(framework, "cpu", "fp32").learner(config, NUM_CLASSES)
    found, figures = {}, []
    for step in range(num_steps):
        if states is not None:
            learner.load_state(select(states, step))
        found |= {f"{step}:{name}": array for name, array in learner.state().items()}
        figures.append(learner.step(make_batch(step, side), RATE)())
    found |= {f"figures/{name}": np.array([each[name] for each in figures]) for name in figures[0]}
    learner.load_state(select(found, num_steps - 1))
    backend = open_backend(framework, "cpu", "fp32")
    detector = backend.detector(
        config.model, NUM_CLASSES, learner.weights(), config.model.postprocess
    )
    photographs = make_batch(num_steps, side).images
    outputs = detector.forward(detector.preprocess(photographs))
    return found | dict(zip(("logits", "offsets"), map(np.asarray, outputs), strict=True))


if __name__ == "__main__":
    framework, recipe, out, *inputs = sys.argv[1:]
    np.savez(out, **compute(framework, recipe, dict(np.load(inputs[0])) if inputs else None))
