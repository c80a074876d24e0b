"""A real training at a small scale: a linear model with momentum in NumPy, on random images."""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ssd_core.backends.base import Detector, ReadLosses
from ssd_core.config import PostprocessSpec, TrainConfig
from ssd_core.errors import DataError
from ssd_core.recipes import load_recipe
from ssd_core.store import LocalDirectory
from ssd_core.structures import Array, Batch
from ssd_core.training.checkpoints import CheckpointDir
from ssd_core.training.run import Run
from tests.small_model import CLASSES, describe_model
from tests.train_logs import read_log

IMAGE_SIZE, NUM_IMAGES, BATCH_SIZE = 4, 10, 4
VOLATILE = {"seconds", "images_per_second", "data_wait", "host_memory", "warm_up_steps", "time"}
"""Entries of the log that measure time."""


class LinearLearner:
    """Learns the mean of an image from its pixels."""

    def __init__(self) -> None:
        size = IMAGE_SIZE * IMAGE_SIZE * 3
        self.arrays: dict[str, Array] = {
            "weights/weight": np.linspace(-1, 1, size, dtype=np.float32),
            "optimizer/momentum": np.zeros(size, np.float32),
        }

    def step(self, batch: Batch, learning_rate: float) -> ReadLosses:
        inputs = batch.images.reshape(len(batch.images), -1).astype(np.float32) / 255
        errors = inputs @ self.arrays["weights/weight"] - inputs.mean(axis=1)
        gradient = 2 * inputs.T @ errors / len(errors)
        momentum = np.float32(0.9) * self.arrays["optimizer/momentum"] + gradient
        self.arrays["optimizer/momentum"] = momentum
        self.arrays["weights/weight"] -= np.float32(learning_rate) * momentum
        loss, norm = float(np.square(errors).mean()), float(np.linalg.norm(gradient))
        parts = {"loss": loss, "loss_cls": loss / 4, "loss_bbox": loss * 3 / 4}
        return lambda: parts | {"gradient_norm": norm, "loss_scale": 1.0}

    def state(self) -> dict[str, Array]:
        return {name: array.copy() for name, array in self.arrays.items()}

    def load_state(self, state: Mapping[str, Array]) -> None:
        if set(state) != set(self.arrays):
            raise DataError(f"expected {sorted(self.arrays)}, got {sorted(state)}")
        self.arrays = {name: array.copy() for name, array in state.items()}

    def weights(self) -> dict[str, Array]:
        return {"weight": self.arrays["weights/weight"].copy()}

    def detector(self, postprocess: PostprocessSpec) -> Detector:
        raise NotImplementedError


def make_batches(first_step: int, last_step: int) -> Iterator[Batch]:
    """Yield batches that are a pure function of the step, which is their label."""
    images = np.empty((BATCH_SIZE, IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)
    for step in range(first_step, last_step):
        images[:] = np.random.default_rng(step).integers(0, 256, images.shape, np.uint8)
        yield Batch(
            images=images,
            boxes=np.zeros((BATCH_SIZE, 8, 4), np.float32),
            labels=np.full((BATCH_SIZE, 8), step),
        )


def make_config(**changes: Any) -> TrainConfig:
    """Return a short training: 12 steps, a log line every 2, a checkpoint every 4."""
    values = load_recipe("demo").train.model_dump()
    values |= {"batch_size": BATCH_SIZE, "steps": 12, "log_interval": 2, "checkpoint_interval": 4}
    values["optimizer"]["learning_rate"] = 0.01
    return TrainConfig(**{**values, **changes})


def make_run(out_dir: Path, config: TrainConfig | None = None) -> Run:
    """Open a training in `out_dir`, with evaluation if the configuration has an interval for it."""
    config, learner = config or make_config(), LinearLearner()

    def evaluate() -> dict[str, float]:
        # Not monotonic, so that the best step lies in the middle of the training.
        return {"ap": float(np.sin(learner.arrays["weights/weight"].sum() * 40))}

    out_dir.mkdir(parents=True, exist_ok=True)
    return Run(
        config=config,
        num_images=NUM_IMAGES,
        learner=learner,
        batches=make_batches,
        name_images=lambda step: [f"step {step} {row}.jpg" for row in range(BATCH_SIZE)],
        checkpoints=CheckpointDir(
            LocalDirectory(out_dir / "checkpoints"), describe_model(), CLASSES
        ),
        log_path=out_dir / "train_log.jsonl",
        facts={"world_size": 1},
        evaluate=evaluate if config.evaluate_every else None,
    )


def outcome(run: Run) -> dict[str, Any]:
    """Return everything that must be equal between two finished trainings, as JSON."""
    found = run.checkpoints.resume()
    assert found is not None
    last_dir = run.checkpoints.last_dir
    assert last_dir is not None
    lines = [line for line in read_log(run.log_path) if line["event"] != "start"]
    files = ("weights.safetensors", "state.safetensors")
    return {
        "state": found[0].model_dump(exclude={"seconds"}),
        "arrays": [hashlib.sha256(last_dir.get(name)).hexdigest() for name in files],
        "log": [{k: v for k, v in line.items() if k not in VOLATILE} for line in lines],
    }
