"""A model that no training made: for what reads, moves and verifies models."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ssd_core.config import ModelConfig
from ssd_core.model_dir import ModelDescription, write_model
from ssd_core.recipes import load_recipe
from ssd_core.store import LocalDirectory
from ssd_core.structures import Array, ClassInfo


def describe_model(*, num_classes: int = 1, step: int = 1) -> ModelDescription:
    """Return the description that a training of the demo would write."""
    return ModelDescription(
        recipe=load_recipe("demo"),
        framework="torch",
        num_classes=num_classes,
        step=step,
        training_id="0123456789abcdef",
        dataset_digest="ab" * 32,
        core_version="0.1.0",
    )


def describe_input(side: int, **changes: Any) -> ModelConfig:
    """Return the network of the demo for inputs of another size."""
    model = load_recipe("demo").train.model
    return model.model_copy(update={"image_size": side, **changes})


CLASSES = (ClassInfo(label=1, name="cell", category_id=1),)
"""Those of a small model."""


def write_small_model(
    model_dir: Path, weights: Mapping[str, Array], description: ModelDescription | None = None
) -> None:
    """Write a model of one class with these weights."""
    described = description or describe_model()
    write_model(LocalDirectory(model_dir), described, CLASSES, dict(weights))
