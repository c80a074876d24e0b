"""A trained model as a directory that carries its own truth.

config.json           network, origin, size and hash of the other files; written last
classes.json          the classes in label order
weights.safetensors   the network's arrays
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from ssd_core.config import ModelConfig
from ssd_core.errors import DataError, UsageError
from ssd_core.store.arrays import FileEntry, describe, read_arrays, read_verified, write_arrays
from ssd_core.store.local import explain_disk_errors, write_file
from ssd_core.structures import Array, ClassInfo

CONFIG_FILE = "config.json"
CLASSES_FILE = "classes.json"
WEIGHTS_FILE = "weights.safetensors"
MODEL_DIR = "model"

_REMEDY = "the model is incomplete: repeat the command that wrote it, or copy it again"
_CLASSES = TypeAdapter(tuple[ClassInfo, ...])


class ModelDescription(BaseModel):
    """The content of `config.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    format_version: Literal[1] = 1
    recipe: str
    """Name of the recipe that the training started from."""
    framework: str
    """The framework whose names the weights bear, for example `torch`."""
    model: ModelConfig
    num_classes: int
    """Without background."""
    step: int
    """Optimizer steps behind these weights."""
    training_id: str
    dataset_digest: str
    core_version: str
    """Version of this package when the model was written."""
    files: dict[str, FileEntry] = {}
    """By name; filled by `write_model`."""

    def summary(self) -> dict[str, object]:
        """Say which model this is, for the results of a stage."""
        return self.model_dump(include={"recipe", "step", "training_id"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """What a model directory holds."""

    description: ModelDescription
    classes: tuple[ClassInfo, ...]
    weights: dict[str, Array]


def write_model(
    model_dir: Path,
    description: ModelDescription,
    classes: Sequence[ClassInfo],
    weights: Mapping[str, Array],
) -> None:
    """Write a model directory; it is complete when its `config.json` is there.

    Raises:
        SurroundingsError: the disk is full or refuses.
    """
    (model_dir / CONFIG_FILE).unlink(missing_ok=True)
    class_list = (json.dumps([asdict(entry) for entry in classes], indent=2) + "\n").encode()
    write_file(model_dir / CLASSES_FILE, class_list)
    files = {
        CLASSES_FILE: describe(class_list),
        WEIGHTS_FILE: write_arrays(model_dir / WEIGHTS_FILE, weights),
    }
    complete = description.model_copy(update={"files": files})
    write_file(model_dir / CONFIG_FILE, complete.model_dump_json(indent=2) + "\n")


def read_model(model_dir: Path) -> Model:
    """Read a model directory, or the output directory of a training that holds one.

    Raises:
        UsageError: there is no such directory.
        DataError: a file is missing or damaged.
    """
    model_dir = _find(model_dir)
    try:
        description = _read_config(model_dir)
        classes = _read_classes(model_dir, description)
        weights = read_arrays(model_dir / WEIGHTS_FILE, description.files[WEIGHTS_FILE])
    except DataError as error:
        raise DataError(f"{error}; {_REMEDY}") from None
    return Model(description=description, classes=classes, weights=weights)


def read_description(model_dir: Path) -> ModelDescription:
    """Read what a model is, without its weights; see `read_model`."""
    try:
        return _read_config(_find(model_dir))
    except DataError as error:
        raise DataError(f"{error}; {_REMEDY}") from None


def _find(model_dir: Path) -> Path:
    if not model_dir.is_dir():
        raise UsageError(f"{model_dir}: no such model directory")
    is_here = (model_dir / CONFIG_FILE).exists() or not (model_dir / MODEL_DIR).is_dir()
    return model_dir if is_here else model_dir / MODEL_DIR


def _read_config(model_dir: Path) -> ModelDescription:
    config_path = model_dir / CONFIG_FILE
    try:
        with explain_disk_errors(config_path):
            content = config_path.read_bytes()
        description = ModelDescription.model_validate_json(content)
    except FileNotFoundError:
        raise DataError(f"{config_path} is missing") from None
    except ValidationError as error:
        raise DataError(f"{config_path}: {_first_problem(error)}") from None
    for name in (CLASSES_FILE, WEIGHTS_FILE):
        if name not in description.files:
            raise DataError(f"{config_path} does not list {name}")
    return description


def _read_classes(model_dir: Path, description: ModelDescription) -> tuple[ClassInfo, ...]:
    classes_path = model_dir / CLASSES_FILE
    content = read_verified(classes_path, description.files[CLASSES_FILE])
    try:
        classes = _CLASSES.validate_json(content)
    except ValidationError as error:
        raise DataError(f"{classes_path}: {_first_problem(error)}") from None
    if [entry.label for entry in classes] != list(range(1, description.num_classes + 1)):
        raise DataError(f"{classes_path}: expected the labels 1..{description.num_classes}")
    return classes


def _first_problem(error: ValidationError) -> str:
    details = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in details["loc"])
    return f"{place}: {details['msg'].lower()}" if place else details["msg"].lower()
