"""The common interface of directories on the local disk and in S3.

Keys are relative paths with forward slashes; they never leave the directory.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from ssd_core.errors import DataError, TransientError, UsageError
from ssd_core.logs import logger

ContentT = TypeVar("ContentT")

_MOST_NUMBERS = 100
PARTIAL_PREFIX = ".partial-"
"""Prefix of the names of incomplete objects; no listing returns them."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object of a listing."""

    key: str
    num_bytes: int
    version: str = field(default="", compare=False)
    """Changes with the content: the ETag, or the modification time in nanoseconds."""
    changed: float = field(default=0.0, compare=False)
    """Modification time in seconds since 1970, by the clock of the store."""
    sha256: str = field(default="", compare=False)
    """SHA-256 of the upload, if the store keeps it; only `head` returns it."""


class Location(ABC):
    """A directory on the local disk or in an S3 bucket.

    Every operation raises TransientError when the disk or the store fails.
    """

    @staticmethod
    def parse(text: str) -> "Location":
        """Return the directory that a path, a `file://` URI or `s3://bucket/prefix` names.

        Raises:
            UsageError: the scheme is not supported, or the bucket name is invalid.
        """
        if text.startswith("s3://"):
            from ssd_core.store.s3.directory import S3Directory
            from ssd_core.store.s3.settings import split_uri

            return S3Directory(*split_uri(text))
        from ssd_core.store.local import LocalDirectory, local_path

        return LocalDirectory(local_path(text, expected="a path, file:// or s3://bucket/prefix"))

    @property
    @abstractmethod
    def uri(self) -> str:
        """Absolute path or URI, valid in every process."""

    @property
    @abstractmethod
    def local(self) -> Path | None:
        """Path of the directory, or None if it is in a store."""

    @property
    def name(self) -> str:
        """The last part of the path or key prefix."""
        return self.uri.rpartition("/")[2]

    @property
    def parent(self) -> "Location":
        """The directory that contains this one."""
        return Location.parse(self.uri.rpartition("/")[0] or "/")

    @abstractmethod
    def __truediv__(self, name: str) -> "Location":
        """Return the directory `name` below this one."""

    @abstractmethod
    def put(self, key: str, content: bytes | Path) -> None:
        """Store bytes or a local file under `key` atomically; replace an existing object."""

    @abstractmethod
    def put_if_absent(self, key: str, content: bytes) -> bool:
        """Store `content` unless `key` exists, and return whether it was stored.

        Exactly one of many concurrent writers succeeds.
        """

    def put_numbered(self, name: Callable[[int], str], first: int, content: bytes) -> int:
        """Store `content` under the name of the first free number, and return the number.

        Raises:
            TransientError: other writers took many numbers in the meantime.
        """
        for number in range(first, first + _MOST_NUMBERS):
            if self.put_if_absent(name(number), content):
                return number
        raise TransientError(
            f"{self}: no name from '{name(first)}' on can be taken; repeat the command later"
        )

    @abstractmethod
    def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """Return the object, or at most `length` bytes of it from `start`.

        Raises:
            FileNotFoundError: the object does not exist.
            DataError: the content of a whole object differs from its stored hash.
        """

    @abstractmethod
    def head(self, key: str) -> StoredObject | None:
        """Return the listing entry of `key`, or None if it does not exist."""

    @abstractmethod
    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """Yield the objects whose key starts with `prefix`, sorted by key."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Remove the object if it exists."""

    def __eq__(self, other: object) -> bool:
        """Return whether both are the same directory."""
        return isinstance(other, Location) and self.uri == other.uri

    def __hash__(self) -> int:
        return hash(self.uri)

    def __str__(self) -> str:
        return self.uri

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"


def is_empty(directory: Location) -> bool:
    """Return whether a directory holds no objects; one that does not exist holds none."""
    if directory.local is not None and not os.path.isdir(directory.local):
        return True
    return next(directory.list(), None) is None


def is_inside(directory: Location, outer: Location) -> bool:
    """Return whether a directory is `outer` or below it; symbolic links are followed."""
    if directory.local is None or outer.local is None:
        return f"{directory.uri}/".startswith(f"{outer.uri}/")
    return Path(os.path.realpath(directory.local)).is_relative_to(os.path.realpath(outer.local))


def check_key(key: str, directory: Location) -> None:
    """Check that a key names an object below the directory.

    Raises:
        UsageError: the key is empty or leaves the directory.
    """
    if not key or key.startswith("/") or ".." in key.split("/"):
        raise UsageError(f"key '{key}' is not below {directory}")


def read_verified_content(
    name: str, read: Callable[[], tuple[ContentT, str, str | None]]
) -> ContentT:
    """Return the content that `read` returns; damaged content is read a second time.

    Args:
        name: the object, for the message.
        read: returns content, its SHA-256, and the expected SHA-256, or None if it is unknown.

    Raises:
        DataError: the same damage twice: the stored object is damaged.
        TransientError: different damage each time: the transfer is unreliable.
    """
    wrong: list[str] = []
    for _ in range(2):
        content, actual, expected = read()
        if expected in {None, actual}:
            return content
        wrong.append(actual)
        logger.warning("%s has a wrong SHA-256; reading it again", name)
    kind = DataError if wrong[0] == wrong[1] else TransientError
    raise kind(f"{name} is damaged: sha256 {wrong[1][:12]}…, expected {str(expected)[:12]}…")


def read_input(file: Location, expected: str) -> bytes:
    """Return the content of a file that the user has named.

    Raises:
        UsageError: it does not exist; `expected` is part of the message.
    """
    try:
        return file.parent.get(file.name)
    except FileNotFoundError:
        is_folder = file.local is not None and file.local.is_dir()
        problem = "is a folder" if is_folder else "does not exist"
        raise UsageError(f"{file} {problem}; expected {expected}") from None
