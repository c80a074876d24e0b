"""Named arrays in a safetensors file, and the size and hash without which no such file is believed.

The format itself notices neither a flipped bit nor a zeroed tail.
"""

import hashlib
from collections.abc import Mapping

import numpy as np
import safetensors.numpy
from pydantic import BaseModel, ConfigDict

from ssd_core.errors import DataError
from ssd_core.store import Location, join_location, open_store
from ssd_core.structures import Array


class FileEntry(BaseModel):
    """What a committed file must look like."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bytes: int
    sha256: str


def describe(content: bytes) -> FileEntry:
    """Return size and hash of `content`."""
    return FileEntry(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())


def write_arrays(directory: Location, name: str, arrays: Mapping[str, Array]) -> FileEntry:
    """Write `arrays` to a safetensors file, whole or not at all.

    Raises:
        SurroundingsError: the disk is full or refuses, or the store is away.
    """
    dense = {key: np.asarray(array, order="C") for key, array in arrays.items()}
    content = safetensors.numpy.save(dense)
    open_store(directory).put(name, content)
    return describe(content)


def read_verified(directory: Location, name: str, entry: FileEntry) -> bytes:
    """Return the content of a file that must match `entry`.

    Raises:
        DataError: the file is missing, or its size or hash is another.
        SurroundingsError: the disk failed, or the store is away.
    """
    place = join_location(directory, name)
    try:
        content = open_store(directory).get(name)
    except FileNotFoundError:
        raise DataError(f"{place} is missing") from None
    found = describe(content)
    if found.bytes != entry.bytes:
        raise DataError(f"{place} is damaged: {found.bytes} bytes, expected {entry.bytes}")
    if found.sha256 != entry.sha256:
        raise DataError(
            f"{place} is damaged: sha256 {found.sha256[:12]}…, expected {entry.sha256[:12]}…"
        )
    return content


def read_arrays(directory: Location, name: str, entry: FileEntry) -> dict[str, Array]:
    """Return the arrays of a safetensors file that must match `entry`; each owns its memory.

    Raises:
        DataError: the file is missing or damaged.
        SurroundingsError: the disk failed, or the store is away.
    """
    content = read_verified(directory, name, entry)
    try:
        return {key: array.copy() for key, array in safetensors.numpy.load(content).items()}
    except safetensors.SafetensorError as error:
        place = join_location(directory, name)
        raise DataError(f"{place} is no safetensors file: {error}") from None
