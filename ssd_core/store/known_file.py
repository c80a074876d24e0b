"""Files with a known hash, and named arrays in such a file.

safetensors itself detects neither a flipped bit nor a zeroed tail.
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import safetensors.numpy
from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from ssd_core.errors import DataError
from ssd_core.store.local import explain_disk_errors, file_sha256
from ssd_core.store.location import ContentT, Location, read_verified_content
from ssd_core.structures import Array

_BLOCK_BYTES = 2**23


class KnownFile(BaseModel):
    """Name, size and hash of a file below some directory."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, serialize_by_alias=True
    )

    name: str
    """Key below its directory."""
    num_bytes: int = Field(
        validation_alias=AliasChoices("num_bytes", "bytes"), serialization_alias="bytes"
    )
    sha256: str

    @classmethod
    def of(cls, name: str, content: bytes | Path) -> "KnownFile":
        """Return the description of `content`, bytes or a local file."""
        if isinstance(content, Path):
            num_bytes, sha256 = content.stat().st_size, file_sha256(content)
        else:
            num_bytes, sha256 = len(content), _sha256(content)
        return cls(name=name, num_bytes=num_bytes, sha256=sha256)

    def is_in(self, directory: Location) -> bool:
        """Return whether the directory holds this file with this content.

        A hash that the store kept of the upload is trusted; otherwise the file is read.
        """
        found = directory.head(self.name)
        if found is None or found.num_bytes != self.num_bytes:
            return False
        return (found.sha256 or _sha256(directory.get(self.name))) == self.sha256

    def verify(self, directory: Location) -> None:
        """Read the file and compare it.

        Raises:
            DataError: the file is missing, or has another size or content.
        """
        self.check_size(directory)
        if directory.local is None:
            self.copy_to(directory, Path(os.devnull))
            return
        path = directory.local / self.name
        with explain_disk_errors(path, "read"):
            self._read_verified(directory, lambda: (None, file_sha256(path)))

    def check_size(self, directory: Location) -> None:
        """Compare the size without reading the file.

        Raises:
            DataError: the file is missing, or has another size.
        """
        found = directory.head(self.name)
        if found is None:
            raise DataError(f"{directory}/{self.name} is missing")
        if found.num_bytes != self.num_bytes:
            raise DataError(
                f"{directory}/{self.name} is damaged: {found.num_bytes} bytes, "
                f"expected {self.num_bytes}"
            )

    def copy_to(self, directory: Location, path: Path) -> None:
        """Copy the file block by block into the existing local file `path`, and verify it.

        Raises:
            DataError: the file is missing, or has another content.
        """

        def copy() -> tuple[None, str]:
            digest = hashlib.sha256()
            with path.open("r+b") as target:
                for start in range(0, self.num_bytes, _BLOCK_BYTES):
                    size = min(_BLOCK_BYTES, self.num_bytes - start)
                    block = directory.get(self.name, start, size)
                    digest.update(block)
                    target.write(block)
            return None, digest.hexdigest()

        self._read_verified(directory, copy)

    def read(self, directory: Location) -> bytes:
        """Return the content after a comparison of size and hash.

        Raises:
            DataError: the file is missing, or has another size or content.
        """
        self.check_size(directory)

        def read() -> tuple[bytes, str]:
            content = directory.get(self.name)
            return content, _sha256(content)

        return self._read_verified(directory, read)

    def _read_verified(
        self, directory: Location, read: Callable[[], tuple[ContentT, str]]
    ) -> ContentT:
        name = f"{directory}/{self.name}"
        try:
            return read_verified_content(name, lambda: (*read(), self.sha256))
        except FileNotFoundError:
            raise DataError(f"{name} is missing") from None


def write_arrays(directory: Location, name: str, arrays: Mapping[str, Array]) -> KnownFile:
    """Write `arrays` to a safetensors file, completely or not at all."""
    dense = {key: np.asarray(array, order="C") for key, array in arrays.items()}
    content = safetensors.numpy.save(dense)
    directory.put(name, content)
    return KnownFile.of(name, content)


def read_arrays(directory: Location, file: KnownFile) -> dict[str, Array]:
    """Return the arrays of a safetensors file; each owns its memory.

    Raises:
        DataError: the file is missing, damaged, not a safetensors file, or has other types.
    """
    return parse_arrays(file.read(directory), directory / file.name)


def parse_arrays(content: bytes, name: Location) -> dict[str, Array]:
    """Return the arrays in the content of a safetensors file; each owns its memory.

    Raises:
        DataError: it is not a safetensors file, or has other types.
    """
    try:
        return {key: array.copy() for key, array in safetensors.numpy.load(content).items()}
    except (safetensors.SafetensorError, ValueError):
        raise DataError(f"{name} is not a safetensors file") from None
    except KeyError as error:  # a type that NumPy does not have
        raise DataError(f"{name}: arrays of type {error} are not read") from None


def digest_json(content: object) -> str:
    """Return the SHA-256 of plain values as JSON, whatever the order of their keys."""
    return _sha256(json.dumps(content, sort_keys=True).encode())


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
