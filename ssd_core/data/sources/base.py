"""The files of a data set by relative names, so that no reader handles a path."""

import codecs
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ssd_core.errors import DataError, located

IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".bmp", ".dib", ".webp", ".gif"),
    *(".tif", ".tiff", ".avif", ".jp2", ".j2k", ".jpf", ".jpx", ".ppm", ".pgm", ".pbm", ".pnm"),
)
"""Of the formats that `ssd_core.data.decode` opens."""
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_HEAD_BYTES = 2**16


@dataclass(frozen=True, slots=True)
class SourceFile:
    """An entry of a source's listing."""

    num_bytes: int
    version: str
    """Changes with every write: the modification time in nanoseconds, or the ETag of an object."""


class Source(Protocol):
    """Files to read; names have forward slashes and never leave the root.

    Every reading method raises DataError if the file does not exist or cannot be read.
    """

    uri: str

    @property
    def files(self) -> Mapping[str, SourceFile]:
        """All files by name, sorted, without the hidden ones."""

    @property
    def unusable(self) -> Mapping[str, str]:
        """Entries that cannot be read, by name, with the reason."""

    def expect(self, names: Sequence[str]) -> None:
        """Announce all files that are read next, in this order: a remote source prefetches them."""

    def read(self, name: str) -> bytes:
        """Return the content of a file."""

    def read_part(self, name: str, start: int, size: int) -> bytes:
        """Return `size` bytes of a file from `start`, fewer only at its end."""

    def read_into(self, name: str, space: memoryview) -> int:
        """Fill `space` with the beginning of a file and return the number of bytes read."""


def read_head(source: Source, name: str) -> str:
    """Return the beginning of a file as text, "" if it is unreadable; bad bytes are replaced."""
    try:
        head = source.read_part(name, 0, _HEAD_BYTES)
    except DataError:
        return ""
    return head.decode("utf-16" if head.startswith(_UTF16) else "utf-8-sig", errors="replace")


def read_text(source: Source, name: str) -> str:
    """Return the content of a text file in UTF-8, with or without byte order mark."""
    content = source.read(name)
    with located(name):
        return decode_text(content)


def decode_text(content: bytes) -> str:
    """Decode UTF-8, with or without byte order mark.

    Raises:
        DataError: it is not UTF-8.
    """
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        found = "is text in UTF-16" if content.startswith(_UTF16) else "is not text"
        raise DataError(f"{found}, expected UTF-8") from None


def look_up(source: Source, name: str) -> SourceFile:
    """Return the listing's entry for a file; one that does not exist is a DataError."""
    if not is_inside(name):
        raise DataError(f"'{name}' leaves the source {source.uri}; names must be relative to it")
    if name not in source.files:
        raise DataError(f"{name}: does not exist in {source.uri}")
    return source.files[name]


def is_inside(name: str) -> bool:
    """Return whether a name stays below its root: relative, without `..` and backslashes."""
    has_parent = ".." in name and ".." in name.split("/")
    return bool(name) and not (name[0] == "/" or "\\" in name or "\0" in name or has_parent)


def fold_name(name: str) -> str:
    """Return a name without differences of case and Unicode form."""
    return unicodedata.normalize("NFC", name).casefold()
