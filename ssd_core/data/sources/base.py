"""Where a data set comes from: files with relative names, so that no reader handles a path."""

import codecs
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ssd_core.errors import DataError, located


@dataclass(frozen=True, slots=True)
class SourceFile:
    """What a listing says of a file."""

    num_bytes: int
    version: str
    """Another one after each change: the time in nanoseconds, or the ETag of an object."""


IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif"),
    *(".avif", ".jp2", ".ppm", ".pgm"),
)
"""Of the formats that `ssd_core.data.decode` opens."""


_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_HEAD_BYTES = 2**16


class Source(Protocol):
    """Files to read; names have forward slashes and never leave the root."""

    uri: str

    @property
    def files(self) -> Mapping[str, SourceFile]:
        """All files by name, sorted; hidden ones are left out."""

    @property
    def left_aside(self) -> Mapping[str, str]:
        """What is there and cannot be used, by name, with the reason."""

    def expect(self, names: Sequence[str]) -> None:
        """Say which files are read next, all and in this order: a far source fetches them ahead."""

    def read(self, name: str) -> bytes:
        """Return the content of a file.

        Raises:
            DataError: it is missing or cannot be read.
        """

    def read_part(self, name: str, start: int, size: int) -> bytes:
        """Return `size` bytes of a file from `start`, fewer only at its end.

        Raises:
            DataError: it is missing or cannot be read.
        """

    def read_into(self, name: str, space: memoryview) -> int:
        """Fill `space` with the beginning of a file and return how many bytes there were.

        Raises:
            DataError: it is missing or cannot be read.
        """


def read_head(source: Source, name: str) -> str:
    """Return the beginning of a file as text, "" if it is unreadable; wrong bytes are replaced."""
    try:
        head = source.read_part(name, 0, _HEAD_BYTES)
    except DataError:
        return ""
    return head.decode("utf-16" if head.startswith(_UTF16) else "utf-8-sig", errors="replace")


def read_text(source: Source, name: str) -> str:
    """Return the content of a text file in UTF-8, with or without byte order mark.

    Raises:
        DataError: it is missing, unreadable, or not such a text.
    """
    content = source.read(name)
    with located(name):
        return decode_text(content)


def decode_text(content: bytes) -> str:
    """Return a text in UTF-8, with or without byte order mark.

    Raises:
        DataError: it is not such a text.
    """
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        is_utf16 = content.startswith(_UTF16)
        problem = "is text in UTF-16" if is_utf16 else "is not text"
        raise DataError(f"{problem}, expected UTF-8") from None


def look_up(source: Source, name: str) -> SourceFile:
    """Return what the listing says of a file.

    Raises:
        DataError: there is no such file.
    """
    if not is_inside(name):
        raise DataError(f"'{name}' leaves the source {source.uri}; names must be relative to it")
    if name not in source.files:
        raise DataError(f"{name}: there is no such file in {source.uri}")
    return source.files[name]


def is_inside(name: str) -> bool:
    """Say whether a relative name stays below its root: no absolute path, no `..`, no backslash."""
    has_parent = ".." in name and ".." in name.split("/")
    return bool(name) and not (name[0] == "/" or "\\" in name or "\0" in name or has_parent)


def fold_name(name: str) -> str:
    """Return what is left of a name without case and Unicode form."""
    return unicodedata.normalize("NFC", name).casefold()
