"""Files whose content is known in advance, and named arrays in such a file.

safetensors itself detects neither a flipped bit nor a zeroed tail.
"""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import safetensors.numpy
from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from ssd_core.errors import DataError
from ssd_core.store.local import explain_disk_errors, file_sha256
from ssd_core.store.location import Location, read_verified_content
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
    def of(cls, name: str, content: bytes) -> "KnownFile":
        """Return the description of `content`."""
        return cls(name=name, num_bytes=len(content), sha256=hashlib.sha256(content).hexdigest())

    def is_in(self, directory: Location) -> bool:
        """Return whether the file is there with this content.

        A store that keeps the hash of what it received is trusted; elsewhere the file is read.
        """
        found = directory.head(self.name)
        if found is None or found.num_bytes != self.num_bytes:
            return False
        actual = found.sha256 or hashlib.sha256(directory.get(self.name)).hexdigest()
        return actual == self.sha256

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
            read_verified_content(str(path), lambda: (None, file_sha256(path), self.sha256))

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
        """Copy the file into the existing local file `path`, and compare it on the way.

        Raises:
            DataError: the file is missing, or has another content.
        """

        def copy() -> tuple[None, str, str]:
            digest = hashlib.sha256()
            with path.open("r+b") as target:
                for start in range(0, self.num_bytes, _BLOCK_BYTES):
                    size = min(_BLOCK_BYTES, self.num_bytes - start)
                    block = directory.get(self.name, start, size)
                    digest.update(block)
                    target.write(block)
            return None, digest.hexdigest(), self.sha256

        try:
            read_verified_content(f"{directory}/{self.name}", copy)
        except FileNotFoundError:
            raise DataError(f"{directory}/{self.name} is missing") from None

    def read(self, directory: Location) -> bytes:
        """Return the content, compared with size and hash.

        Raises:
            DataError: the file is missing, or has another size or content.
        """
        self.check_size(directory)

        def read() -> tuple[bytes, str, str]:
            content = directory.get(self.name)
            return content, hashlib.sha256(content).hexdigest(), self.sha256

        try:
            return read_verified_content(f"{directory}/{self.name}", read)
        except FileNotFoundError:
            raise DataError(f"{directory}/{self.name} is missing") from None


def write_arrays(directory: Location, name: str, arrays: Mapping[str, Array]) -> KnownFile:
    """Write `arrays` to a safetensors file, whole or not at all."""
    dense = {key: np.asarray(array, order="C") for key, array in arrays.items()}
    content = safetensors.numpy.save(dense)
    directory.put(name, content)
    return KnownFile.of(name, content)


def read_arrays(directory: Location, file: KnownFile) -> dict[str, Array]:
    """Return the arrays of a safetensors file; each owns its memory.

    Raises:
        DataError: the file is missing, damaged, or not a safetensors file.
    """
    content = file.read(directory)
    try:
        return {key: array.copy() for key, array in safetensors.numpy.load(content).items()}
    except safetensors.SafetensorError as error:
        raise DataError(f"{directory}/{file.name} is not a safetensors file: {error}") from None
