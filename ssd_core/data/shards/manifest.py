"""The manifest of a converted data set: written last, and the only file that a reader trusts."""

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator, model_validator
from pydantic_core import from_json

from ssd_core.config import ConvertConfig, ShardFormat, SplitName, first_problem
from ssd_core.data.sources.base import SourceFile, is_inside
from ssd_core.errors import DataError, OwnershipError, UsageError, remedied
from ssd_core.model_dir import CONFIG_FILE, MODEL_DIR
from ssd_core.store import Location
from ssd_core.store.known_file import KnownFile, digest_json
from ssd_core.store.layout import MANIFEST_FILE
from ssd_core.store.local import write_file
from ssd_core.structures import ClassInfo

SCHEMA_VERSION = 1
"""Incremented when a reader of the old version cannot read the new shards."""
CONVERTER_VERSION = 3
"""Incremented when the same source and options give different shards than before."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Shard(KnownFile):
    """One file of a split."""

    rows: int
    """Images in the file; 0 for a file that only helps to read another."""

    @field_validator("name")
    @classmethod
    def _stays_inside(cls, name: str) -> str:
        if not is_inside(name):
            raise ValueError(f"'{name}' leaves the data set")
        return name


class Split(_Model):
    """The images for training, for evaluation, or for the test."""

    images: int
    boxes: int
    """All objects, including crowds."""
    max_boxes: int
    """Largest number of objects in one image, including crowds."""
    shards: tuple[Shard, ...]

    @model_validator(mode="after")
    def _adds_up(self) -> "Split":
        if self.images != sum(shard.rows for shard in self.shards):
            raise ValueError(f"{self.images} images, but its shards have another number of rows")
        return self


class Manifest(_Model):
    """The content of `manifest.json`."""

    schema_version: int
    format: ShardFormat
    classes: tuple[ClassInfo, ...]
    """In label order."""
    splits: dict[SplitName, Split]
    source: dict[str, Any]
    """Origin of the data: uri, format, and the location of each split."""
    options: dict[str, Any]
    """The complete `convert` section."""
    findings: dict[str, int]
    """Number of findings by code."""
    digest: str
    """SHA-256 of shards, classes, options and converter version: identifies the data."""
    listing_key: str
    """SHA-256 of the options and of path, size and version of each source file: if it is equal,
    nothing has changed."""

    def shards(self) -> list[Shard]:
        """Return the files of all splits."""
        return [shard for split in self.splits.values() for shard in split.shards]

    @property
    def name(self) -> str:
        """Last part of the URI of the source."""
        return PurePosixPath(str(self.source.get("uri", ""))).name

    def rename_shards(self, rename: Callable[[str], str]) -> "Manifest":
        """Return the manifest with other names of the shards."""

        def renamed(split: Split) -> Split:
            shards = (s.model_copy(update={"name": rename(s.name)}) for s in split.shards)
            return split.model_copy(update={"shards": tuple(shards)})

        splits = {name: renamed(split) for name, split in self.splits.items()}
        return self.model_copy(update={"splits": splits})


def make_manifest(
    config: ConvertConfig,
    *,
    source: dict[str, Any],
    classes: tuple[ClassInfo, ...],
    splits: dict[SplitName, Split],
    findings: Mapping[str, int],
    listing_key: str,
) -> Manifest:
    """Return the manifest of a conversion; see `Manifest`."""
    options = config.model_dump(mode="json")
    return Manifest(
        schema_version=SCHEMA_VERSION,
        format=config.shards,
        classes=classes,
        splits=splits,
        source=source,
        options=options,
        findings=dict(sorted(findings.items())),
        digest=content_digest(classes, splits, options),
        listing_key=listing_key,
    )


SHARD_NAME = re.compile(rf"({'|'.join(get_args(SplitName))})-\d{{5,}}\.arrow")
"""Names that `shard_name` returns."""
_IN_STORE = re.compile(r"(?:(.*)/)?shards-[0-9a-f]{16}/(.+)")
"""A shard in a store, after the folder of its data set; see `store_folder`."""


def store_folder(listing_key: str) -> str:
    """Return the name of the folder of the shards of a conversion in a store."""
    return f"shards-{listing_key[:16]}"


def shard_name(split: str, index: int) -> str:
    """Return the file name of an Arrow shard."""
    return f"{split}-{index:05d}.arrow"


def dataset_of(key: str) -> str | None:
    """Return the data set folder of a shard's key, "" for the root; None for other keys."""
    match = _IN_STORE.fullmatch(key)
    return None if match is None else match[1] or ""


def content_digest(
    classes: tuple[ClassInfo, ...],
    splits: Mapping[SplitName, Split],
    options: Mapping[str, Any],
    *,
    version: int = CONVERTER_VERSION,
) -> str:
    """Return the digest that identifies a data set, independent of the location of its source."""
    content = {
        "converter_version": version,
        "classes": [asdict(info) for info in classes],
        "splits": {name: split.model_dump() for name, split in splits.items()},
        "options": options,
    }
    return digest_json(content)


def listing_key(files: Mapping[str, SourceFile], options: Mapping[str, Any]) -> str:
    """Return a key that is equal if neither source nor options can have changed; cheap."""
    listing = [(name, file.num_bytes, file.version) for name, file in files.items()]
    return digest_json([CONVERTER_VERSION, options, listing])


def format_manifest(manifest: Manifest) -> str:
    """Return the content of `manifest.json`."""
    return manifest.model_dump_json(indent=2) + "\n"


def write_manifest(data_dir: Path, manifest: Manifest) -> None:
    """Write `manifest.json` atomically; this completes the data set."""
    write_file(data_dir / MANIFEST_FILE, format_manifest(manifest))


def read_manifest(data_dir: Location) -> Manifest:
    """Read and check `manifest.json`.

    Raises:
        UsageError: it is missing.
        DataError: it is broken or changed, or a newer converter wrote it.
    """
    path = f"{data_dir}/{MANIFEST_FILE}"
    try:
        content = data_dir.get(MANIFEST_FILE)
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(
            f"{data_dir} {_describe_other(data_dir)}; "
            "create or complete one with 'ssd convert SOURCE --out DIR'"
        ) from None
    with remedied("convert the data set again"):
        return _parse_manifest(content, path)


def _parse_manifest(content: bytes, path: str) -> Manifest:
    try:
        values = from_json(content)
    except ValueError:
        raise DataError(f"{path} is not JSON") from None
    version = values.get("schema_version") if isinstance(values, dict) else None
    if version != SCHEMA_VERSION:
        raise DataError(f"{path} has schema version {version}, this program reads {SCHEMA_VERSION}")
    try:
        manifest = Manifest.model_validate(values)
    except ValidationError as error:
        raise DataError(f"{path}: {first_problem(error)}") from None
    if find_converter(manifest) is None:
        raise DataError(f"{path} was changed: its content does not give its digest")
    return manifest


def _describe_other(directory: Location) -> str:
    """Describe a directory that holds no data set."""
    if any(place.head(CONFIG_FILE) for place in (directory, directory / MODEL_DIR)):
        return "is a model, not a converted data set"
    if directory.local is not None and not directory.local.exists():
        return "does not exist"
    return f"holds no converted data set: {MANIFEST_FILE} is missing"


def find_converter(manifest: Manifest) -> int | None:
    """Return the version of the converter that gives the digest, None if the content does not.

    The format of the shards is an option, which the digest covers, but not the other copy of it.
    """
    if manifest.options.get("shards", manifest.format) != manifest.format:
        return None
    local = manifest.rename_shards(_local_name)
    content = (local.classes, local.splits, local.options)
    versions = range(CONVERTER_VERSION, 0, -1)
    return next(
        (v for v in versions if content_digest(*content, version=v) == manifest.digest), None
    )


def _local_name(name: str) -> str:
    match = _IN_STORE.fullmatch(name)
    return match[2] if match and not match[1] else name


def read_if_any(place: Location) -> Manifest | None:
    """Return the manifest of the data set at a location, or None if it does not exist."""
    exists = place.head(MANIFEST_FILE) is not None
    return read_manifest(place) if exists else None


def other_dataset(place: Location | Path, difference: str) -> OwnershipError:
    """Return the error for an output location that contains a different data set."""
    return OwnershipError(
        f"{place} holds another data set: {difference}; choose another --out, or remove it"
    )
