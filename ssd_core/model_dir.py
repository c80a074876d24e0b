"""A trained model as a directory that carries its own truth.

config.json           network, origin, size and hash of the other files; written last
classes.json          the classes in label order
weights.safetensors   the network's arrays
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from ssd_core.config import ModelConfig, first_problem
from ssd_core.errors import DataError, UsageError
from ssd_core.store import Location, join_location, open_store
from ssd_core.store.arrays import FileEntry, describe, read_arrays, read_verified, write_arrays
from ssd_core.store.base import holds
from ssd_core.store.local import LocalStore, own_temporary_directory
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

    format_version: Literal[2] = 2
    recipe: str
    """Name of the recipe that the training started from."""
    framework: str
    """The framework that trained the weights, for example `torch`; any other can read them."""
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
    model_dir: Location,
    description: ModelDescription,
    classes: Sequence[ClassInfo],
    weights: Mapping[str, Array],
) -> None:
    """Write a model directory; it is complete when its `config.json` is there.

    Raises:
        SurroundingsError: the disk is full or refuses, or the store is away.
    """
    store = open_store(model_dir)
    store.delete(CONFIG_FILE)
    class_list = (json.dumps([asdict(entry) for entry in classes], indent=2) + "\n").encode()
    store.put(CLASSES_FILE, class_list)
    files = {
        CLASSES_FILE: describe(class_list),
        WEIGHTS_FILE: write_arrays(model_dir, WEIGHTS_FILE, weights),
    }
    complete = description.model_copy(update={"files": files})
    store.put(CONFIG_FILE, _format(complete))


def read_model(place: Location) -> Model:
    """Read a model directory, or the output directory of a training that holds one.

    Raises:
        UsageError: there is no such directory.
        DataError: a file is missing or damaged.
        SurroundingsError: the store is away.
    """
    model_dir = local_model(place)
    with _remedied():
        description = _read_config(model_dir)
        classes = _read_classes(model_dir, description)
        weights = read_arrays(model_dir, WEIGHTS_FILE, description.files[WEIGHTS_FILE])
    return Model(description=description, classes=classes, weights=weights)


def read_description(place: Location) -> ModelDescription:
    """Read what a model is, without its weights; see `read_model`."""
    with _remedied():
        return _read_config(_find(place))


def is_whole(place: Location, description: ModelDescription) -> bool:
    """Say whether the files of a model directory are those that its description lists."""
    store = open_store(place)
    return all(
        holds(store, name, sha256=entry.sha256, num_bytes=entry.bytes)
        for name, entry in description.files.items()
    )


def local_model(place: Location) -> Path:
    """Return a local model directory with the content of the one at `place`.

    That of a local place is the place itself. What lies in a store is copied to the folder for
    temporary files, once for each content.

    Args:
        place: a model directory, or the output directory of a training that holds one.

    Raises:
        UsageError: there is no such directory.
        DataError: a file is missing or damaged.
        SurroundingsError: the store is away, or the disk is full.
    """
    found = _find(place)
    if isinstance(found, Path):
        return found
    with _remedied():
        return _copy(_read_config(found), found)


def _copy(description: ModelDescription, place: str) -> Path:
    """Copy what is not there yet, so that a killed or damaged copy is completed."""
    config = _format(description)
    model_dir = own_temporary_directory("models") / describe(config).sha256
    copy = LocalStore(model_dir)
    for name, entry in description.files.items():
        if not holds(copy, name, sha256=entry.sha256, num_bytes=entry.bytes):
            copy.put(name, read_verified(place, name, entry))
    copy.put(CONFIG_FILE, config)
    return model_dir


@contextmanager
def _remedied() -> Iterator[None]:
    """Add to a DataError what to do about it."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{error}; {_REMEDY}") from None


def _format(description: ModelDescription) -> bytes:
    return f"{description.model_dump_json(indent=2)}\n".encode()


def _find(place: Location) -> Location:
    """Return the model directory that `place` is, or holds.

    Raises:
        UsageError: there is neither.
    """
    inner = join_location(place, MODEL_DIR)
    if isinstance(place, Path):
        if not os.path.isdir(place):
            raise UsageError(f"{place}: no such model directory")
        is_here = (place / CONFIG_FILE).exists() or not (place / MODEL_DIR).is_dir()
        return place if is_here else inner
    for candidate in (place, inner):
        if open_store(candidate).head(CONFIG_FILE) is not None:
            return candidate
    raise UsageError(f"{place}: no such model directory")


def _read_config(model_dir: Location) -> ModelDescription:
    config_place = join_location(model_dir, CONFIG_FILE)
    try:
        content = open_store(model_dir).get(CONFIG_FILE)
        description = ModelDescription.model_validate_json(content)
    except FileNotFoundError:
        raise DataError(f"{config_place} is missing") from None
    except ValidationError as error:
        raise DataError(f"{config_place}: {first_problem(error)}") from None
    for name in (CLASSES_FILE, WEIGHTS_FILE):
        if name not in description.files:
            raise DataError(f"{config_place} does not list {name}")
    return description


def _read_classes(model_dir: Path, description: ModelDescription) -> tuple[ClassInfo, ...]:
    classes_path = model_dir / CLASSES_FILE
    content = read_verified(model_dir, CLASSES_FILE, description.files[CLASSES_FILE])
    try:
        classes = _CLASSES.validate_json(content)
    except ValidationError as error:
        raise DataError(f"{classes_path}: {first_problem(error)}") from None
    if [entry.label for entry in classes] != list(range(1, description.num_classes + 1)):
        raise DataError(f"{classes_path}: expected the labels 1..{description.num_classes}")
    return classes
