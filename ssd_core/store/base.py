"""The narrow protocol of an object store. Keys use forward slashes and never leave the root."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

from ssd_core.errors import DataError, SurroundingsError, UsageError
from ssd_core.logs import logger

ContentT = TypeVar("ContentT")

PARTIAL_PREFIX = ".partial-"
"""Begins the names of what a store keeps for itself; no listing shows them."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object of a listing."""

    key: str
    num_bytes: int
    version: str = field(default="", compare=False)
    """Another one after each change: the ETag, or the time in nanoseconds."""
    changed: float = field(default=0.0, compare=False)
    """When it was stored, in seconds since 1970 by the clock of the store."""
    sha256: str = field(default="", compare=False)
    """Of the content that was put, where the store remembers it; only `head` says it."""


def check_key(key: str, root: object) -> None:
    """Refuse a key that names no object below the root.

    Raises:
        UsageError: the key would leave the root, or is empty.
    """
    if not key or key.startswith("/") or ".." in key.split("/"):
        raise UsageError(f"'{key}' leaves the store {root}")


def read_verified_content(
    place: str, read: Callable[[], tuple[ContentT, str, str | None]]
) -> ContentT:
    """Return what `read` gives as content, after a second reading where the first was damaged.

    Args:
        place: the object, for the message.
        read: returns content, its SHA-256, and the one it should have, or None where nobody knows.

    Raises:
        DataError: the same damage twice: it lies in the store.
        SurroundingsError: another damage each time: it happens on the way.
    """
    wrong: list[str] = []
    for _ in range(2):
        content, actual, expected = read()
        if expected in {None, actual}:
            return content
        wrong.append(actual)
        logger.warning("%s came with a wrong SHA-256", place)
    kind = DataError if wrong[0] == wrong[1] else SurroundingsError
    raise kind(f"{place} is damaged: sha256 {wrong[1][:12]}…, expected {str(expected)[:12]}…")


class Store(Protocol):
    """What the product asks of a store; every verb raises SurroundingsError when it is away."""

    def put(self, key: str, content: bytes | Path) -> None:
        """Store bytes or a file under `key`, all of it or nothing, replacing what is there."""

    def put_if_absent(self, key: str, content: bytes) -> bool:
        """Store `content` unless `key` exists; say whether. Of many racing writers one wins."""

    def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """Return the object, or `length` bytes of it from `start`; fewer where it ends before.

        Raises:
            FileNotFoundError: there is no such object.
            DataError: a whole object that does not have the content it was stored with.
        """

    def head(self, key: str) -> StoredObject | None:
        """Return what a listing would say of `key`, or None where it does not exist."""

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """Yield the objects whose key starts with `prefix`, sorted by key."""

    def delete(self, key: str) -> None:
        """Remove the object; no error where it does not exist."""


def holds(store: Store, key: str, *, sha256: str, num_bytes: int) -> bool:
    """Say whether an object has this content.

    A store that remembers the hash it was given has checked it against what it received; of the
    others the content is read again.
    """
    found = store.head(key)
    if found is None or found.num_bytes != num_bytes:
        return False
    return (found.sha256 or hashlib.sha256(store.get(key)).hexdigest()) == sha256
