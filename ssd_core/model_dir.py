"""A trained model as a self-contained directory.

config.json           recipe, origin, size and hash of the other files, its own digest; written last
classes.json          the classes in label order
weights.safetensors   the network's arrays
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from ssd_core.config import ModelConfig, Recipe, first_problem
from ssd_core.errors import DataError, UsageError, remedied
from ssd_core.store import Location
from ssd_core.store.known_file import KnownFile, digest_json, read_arrays, write_arrays
from ssd_core.store.layout import MANIFEST_FILE
from ssd_core.structures import Array, ClassInfo

CONFIG_FILE = "config.json"
CLASSES_FILE = "classes.json"
WEIGHTS_FILE = "weights.safetensors"
FILES = (CONFIG_FILE, WEIGHTS_FILE, CLASSES_FILE)
MODEL_DIR = "model"
_EXPORTED_FILE = "model.onnx"
"""The name that `ssd export` gives an ONNX file by default."""

_REMEDY = "the model is incomplete: repeat the command that wrote it, or copy it again"
_OF_ANOTHER_VERSION = (
    "another version of ssd-core wrote the model: repeat 'ssd train' or 'ssd import-weights' with "
    "another --out"
)
_CLASSES = TypeAdapter(tuple[ClassInfo, ...])


class ModelDescription(BaseModel):
    """The content of `config.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    format_version: Literal[2] = 2
    recipe: Recipe
    """The complete, resolved configuration of the training."""
    framework: str
    """The framework that trained the weights, for example `torch`; any other can read them."""
    num_classes: int
    """Without background."""
    step: int
    """Number of optimizer steps of the training."""
    training_id: str
    dataset_digest: str
    core_version: str
    """Version of this package when the model was written."""
    files: tuple[KnownFile, ...] = ()
    """The other files of the directory; filled by `write_model`."""
    digest: str = ""
    """SHA-256 of all other keys, as JSON with sorted keys; filled by `write_description`."""

    @property
    def model(self) -> ModelConfig:
        """The network and its input."""
        return self.recipe.train.model

    def file(self, name: str) -> KnownFile:
        """Return one of `files`."""
        return next(file for file in self.files if file.name == name)

    def summary(self) -> dict[str, object]:
        """Return the identity of the model for the results of a stage."""
        return {"recipe": self.recipe.name, "step": self.step, "training_id": self.training_id}


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """The content of a model directory."""

    description: ModelDescription
    classes: tuple[ClassInfo, ...]
    weights: dict[str, Array]


def write_model(
    model_dir: Location,
    description: ModelDescription,
    classes: Sequence[ClassInfo],
    weights: Mapping[str, Array],
) -> ModelDescription:
    """Write a model directory, complete when its `config.json` exists; return its description."""
    model_dir.delete(CONFIG_FILE)
    class_list = (json.dumps([asdict(entry) for entry in classes], indent=2) + "\n").encode()
    model_dir.put(CLASSES_FILE, class_list)
    weights_file = write_arrays(model_dir, WEIGHTS_FILE, weights)
    files = (KnownFile.of(CLASSES_FILE, class_list), weights_file)
    return write_description(model_dir, description.model_copy(update={"files": files}))


def write_description(model_dir: Location, description: ModelDescription) -> ModelDescription:
    """Write `config.json`, after the files that it lists; return it with its digest."""
    values = description.model_dump(mode="json", exclude={"digest"})
    complete = description.model_copy(update={"digest": _digest(values)})
    content = json.dumps(values | {"digest": complete.digest}, indent=2)
    model_dir.put(CONFIG_FILE, f"{content}\n".encode())
    return complete


def read_model(location: Location) -> Model:
    """Read a model directory, or the one in the output directory of a training.

    Raises:
        UsageError: the directory does not exist or is something else.
        DataError: it is incomplete or damaged.
    """
    model_dir = _find(location)
    description = _read_config(model_dir)
    with remedied(_REMEDY):
        classes = _read_classes(model_dir, description)
        weights = read_arrays(model_dir, description.file(WEIGHTS_FILE))
    for name, array in weights.items():
        if not np.isfinite(array).all():
            raise DataError(f"{model_dir / WEIGHTS_FILE}: '{name}' has values that are not finite")
    return Model(description=description, classes=classes, weights=weights)


def read_description(location: Location) -> ModelDescription:
    """Read the description of a model without its weights; see `read_model`."""
    return _read_config(_find(location))


def is_whole(location: Location, description: ModelDescription) -> bool:
    """Return whether a model directory holds the files that the description lists."""
    return all(file.is_in(location) for file in description.files)


def copy_model(location: Location, target: Location) -> ModelDescription:
    """Copy a verified model, without the files that are already in `target`; see `read_model`."""
    model_dir = _find(location)
    description = _read_config(model_dir)
    with remedied(_REMEDY):
        target.delete(CONFIG_FILE)
        for file in description.files:
            if not file.is_in(target):
                target.put(file.name, file.read(model_dir))
    write_description(target, description)
    return description


def _find(location: Location) -> Location:
    """Return the model directory, complete or not: `location` itself, or the one inside it."""
    for name in FILES:
        for candidate in (location, location / MODEL_DIR):
            if candidate.head(name) is not None:
                return candidate
    problem = f"holds no model: {CONFIG_FILE} is missing"
    if location.head(MANIFEST_FILE) is not None:
        problem = "is a converted data set, not a model"
    elif location.head(_EXPORTED_FILE) is not None:
        raise UsageError(
            f"{location} holds an exported file, not a model; to run it, use "
            f"--model {location / _EXPORTED_FILE}"
        )
    elif location.local is not None and location.local.is_file():
        raise UsageError(
            f"{location} is a file, not a model; 'ssd import-weights' makes a model of weights"
        )
    elif location.local is not None and not os.path.exists(location.local):
        problem = "does not exist"
    raise UsageError(
        f"{location} {problem}; expected the output of 'ssd train', or a file of 'ssd export'"
    )


def _read_config(model_dir: Location) -> ModelDescription:
    config_path = model_dir / CONFIG_FILE
    with remedied(_REMEDY):
        try:
            content = model_dir.get(CONFIG_FILE)
        except FileNotFoundError:
            raise DataError(f"{config_path} is missing") from None
    try:
        description = ModelDescription.model_validate_json(content)
    except ValidationError as error:
        is_of_another_version = error.errors()[0]["loc"] == ("format_version",)
        remedy = _OF_ANOTHER_VERSION if is_of_another_version else _REMEDY
        raise DataError(f"{config_path}: {first_problem(error)}; {remedy}") from None
    with remedied(_REMEDY):
        _check_description(description, content, config_path)
    return description


def _check_description(description: ModelDescription, content: bytes, path: Location) -> None:
    if description.digest != _digest(json.loads(content)):
        raise DataError(f"{path} was changed: its content does not give its digest")
    listed = {file.name for file in description.files}
    for name in (CLASSES_FILE, WEIGHTS_FILE):
        if name not in listed:
            raise DataError(f"{path} does not list {name}")


def _digest(values: Mapping[str, Any]) -> str:
    others = {name: value for name, value in values.items() if name != "digest"}
    return digest_json(others)


def _read_classes(model_dir: Location, description: ModelDescription) -> tuple[ClassInfo, ...]:
    classes_path = model_dir / CLASSES_FILE
    content = description.file(CLASSES_FILE).read(model_dir)
    try:
        classes = _CLASSES.validate_json(content)
    except ValidationError as error:
        raise DataError(f"{classes_path}: {first_problem(error)}") from None
    labels = [entry.label for entry in classes]
    if labels != list(range(1, len(labels) + 1)) or len(labels) != description.num_classes:
        raise DataError(f"{classes_path}: expected the labels 1..{description.num_classes}")
    return classes
