"""The manifest says what a converted data set is: written last, and all that a reader trusts."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from ssd_core.config import ShardFormat, SplitName, first_problem
from ssd_core.data.sources.base import SourceFile, is_inside
from ssd_core.errors import DataError
from ssd_core.store import Location
from ssd_core.store.known_file import KnownFile
from ssd_core.store.local import write_file
from ssd_core.structures import ClassInfo

MANIFEST_FILE = "manifest.json"
SCHEMA_VERSION = 1
"""Raised when a reader of the old version could not read the new shards."""
CONVERTER_VERSION = 2
"""Raised when the same source and options give other shards than before."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class ClassEntry(_Model):
    """One class of the data set."""

    label: int
    """1..K."""
    name: str
    category_id: int
    """Id in the source; equal to `label` where the source has no ids."""


class Shard(KnownFile):
    """One file of a split."""

    rows: int
    """Images in it; 0 for a file that only helps to read another."""

    @field_validator("name")
    @classmethod
    def _stays_inside(cls, name: str) -> str:
        if not is_inside(name):
            raise ValueError(f"'{name}' leaves the data set")
        return name


class Split(_Model):
    """One half of the data set."""

    images: int
    boxes: int
    """All objects, crowds included."""
    max_boxes: int
    """Most objects in one image, crowds included."""
    shards: tuple[Shard, ...]


class Manifest(_Model):
    """What `manifest.json` says."""

    schema_version: int
    format: ShardFormat
    classes: tuple[ClassEntry, ...]
    splits: dict[SplitName, Split]
    source: dict[str, Any]
    """Where the data came from: uri, format, and the place of each split."""
    options: dict[str, Any]
    """The complete `convert` section."""
    findings: dict[str, int]
    """Number of findings by code."""
    digest: str
    """SHA-256 of shards, classes, options and converter version: the name of the data."""
    listing_key: str
    """SHA-256 of options and of path, size and version of each source file; equal when nothing can
    have changed."""

    def shards(self) -> list[Shard]:
        """Return the files of all splits."""
        return [shard for split in self.splits.values() for shard in split.shards]

    def class_infos(self) -> tuple[ClassInfo, ...]:
        """Return the classes in label order."""
        return tuple(ClassInfo(**entry.model_dump()) for entry in self.classes)


def shard_name(split: str, index: int) -> str:
    """Return the file name of a shard."""
    return f"{split}-{index:05d}.arrow"


def content_digest(
    classes: tuple[ClassEntry, ...], splits: Mapping[SplitName, Split], options: Mapping[str, Any]
) -> str:
    """Return the digest that names a converted data set, whatever place its source had."""
    content = {
        "converter_version": CONVERTER_VERSION,
        "classes": [entry.model_dump() for entry in classes],
        "splits": {name: split.model_dump() for name, split in splits.items()},
        "options": options,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def listing_key(files: Mapping[str, SourceFile], options: Mapping[str, Any]) -> str:
    """Return a key that is equal when neither source nor options can have changed; cheap."""
    listing = [(name, file.num_bytes, file.version) for name, file in files.items()]
    content = [CONVERTER_VERSION, options, listing]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def format_manifest(manifest: Manifest) -> str:
    """Return the content of `manifest.json`."""
    return manifest.model_dump_json(indent=2) + "\n"


def write_manifest(data_dir: Path, manifest: Manifest) -> None:
    """Write `manifest.json`, whole or not at all; from then on the directory holds a data set."""
    write_file(data_dir / MANIFEST_FILE, format_manifest(manifest))


def read_manifest(data_dir: Location) -> Manifest:
    """Read and check `manifest.json`.

    Raises:
        DataError: there is none, it is broken, or a newer converter wrote it.
        UsageError: a store that refuses.
        SurroundingsError: a store that is away.
    """
    path = f"{data_dir}/{MANIFEST_FILE}"
    try:
        values = json.loads(data_dir.get(MANIFEST_FILE))
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(
            f"{data_dir} holds no converted data set: {MANIFEST_FILE} is missing; "
            "create it with 'ssd convert SOURCE --out DIR'"
        ) from None
    except ValueError as error:
        raise DataError(f"{path} is not JSON: {error}; convert the data set again") from None
    except RecursionError:
        raise DataError(f"{path} is not JSON: nested too deeply; convert again") from None
    version = values.get("schema_version") if isinstance(values, dict) else None
    if version != SCHEMA_VERSION:
        raise DataError(
            f"{path} has schema version {version}, this program reads {SCHEMA_VERSION}; "
            "convert the data set again"
        )
    try:
        return Manifest.model_validate(values)
    except ValidationError as error:
        raise DataError(f"{path}: {first_problem(error)}; convert the data set again") from None


def read_if_any(place: Location) -> Manifest | None:
    """Return the manifest of the data set at a place, None where there is none.

    Raises:
        DataError: it cannot be read.
        SurroundingsError: a store that is away.
    """
    is_there = place.head(MANIFEST_FILE) is not None
    return read_manifest(place) if is_there else None
