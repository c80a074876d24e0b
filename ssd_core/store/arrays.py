"""Named arrays in a safetensors file, and the size and hash without which no such file is believed.

The format itself notices neither a flipped bit nor a zeroed tail.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import safetensors.numpy
from pydantic import BaseModel, ConfigDict

from ssd_core.errors import DataError
from ssd_core.store.local import explain_disk_errors, write_file
from ssd_core.structures import Array


class FileEntry(BaseModel):
    """What a committed file must look like."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bytes: int
    sha256: str


def describe(content: bytes) -> FileEntry:
    """Return size and hash of `content`."""
    return FileEntry(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())


def write_arrays(path: Path, arrays: Mapping[str, Array]) -> FileEntry:
    """Write `arrays` to a safetensors file, whole or not at all.

    Raises:
        SurroundingsError: the disk is full or refuses.
    """
    dense = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    content = safetensors.numpy.save(dense)
    write_file(path, content)
    return describe(content)


def read_verified(path: Path, entry: FileEntry) -> bytes:
    """Return the content of a file that must match `entry`.

    Raises:
        DataError: the file is missing, or its size or hash is another.
        SurroundingsError: the disk failed.
    """
    try:
        with explain_disk_errors(path):
            content = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path} is missing") from None
    found = describe(content)
    if found.bytes != entry.bytes:
        raise DataError(f"{path} is damaged: {found.bytes} bytes, expected {entry.bytes}")
    if found.sha256 != entry.sha256:
        raise DataError(
            f"{path} is damaged: sha256 {found.sha256[:12]}…, expected {entry.sha256[:12]}…"
        )
    return content


def read_arrays(path: Path, entry: FileEntry) -> dict[str, Array]:
    """Return the arrays of a safetensors file that must match `entry`; each owns its memory.

    Raises:
        DataError: the file is missing or damaged.
    """
    content = read_verified(path, entry)
    try:
        return {name: array.copy() for name, array in safetensors.numpy.load(content).items()}
    except safetensors.SafetensorError as error:
        raise DataError(f"{path} is no safetensors file: {error}") from None
