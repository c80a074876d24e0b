"""Whole directories between the local disk and any place, each file verified.

A killed transfer is continued by the same call: what is there and equal is not moved again.
"""

from dataclasses import dataclass
from pathlib import Path

from ssd_core.errors import DataError, UsageError
from ssd_core.logs import logger
from ssd_core.store import Location, open_store
from ssd_core.store.base import Store, holds
from ssd_core.store.local import LocalStore, file_sha256


def upload_directory(directory: Path, place: Location, *, last: str) -> None:
    """Copy every file below `directory` to `place`; who finds `last` there finds all of it.

    Where something has changed, an older `last` is removed before the first file is replaced.

    Args:
        directory: whose files are copied; their relative paths become the keys.
        place: a local directory or the URI of a store.
        last: relative path of the file that says that the others are complete.

    Raises:
        DataError: there is no `last` in the directory.
        SurroundingsError: the store is away, or the disk is full; the same call continues.
        UsageError: nothing can be written there.
    """
    source, target = LocalStore(directory), open_store(place)
    keys = [found.key for found in source.list()]
    if last not in keys:
        raise DataError(f"{directory / last} is missing; nothing is uploaded without it")
    changed = [key for key in keys if not _is_there(target, key, source.path(key))]
    if changed and target.head(last) is not None:
        target.delete(last)
        changed.append(last)
    for key in sorted(set(changed), key=lambda key: (key == last, key)):
        target.put(key, source.path(key))
    logger.debug("%s: uploaded %d of %d files", place, len(set(changed)), len(keys))


def download_directory(place: Location, directory: Path, *, leave_out: str | None = None) -> None:
    """Copy everything below `place` into `directory`; files that are only there stay.

    Args:
        place: a local directory or the URI of a store.
        directory: where the copies go.
        leave_out: beginning of the keys that are not copied; None for all.

    Raises:
        UsageError: nothing lies at `place`, or the directory cannot be written.
        DataError: an object does not have the content it was stored with.
        SurroundingsError: the store is away, or the disk is full; the same call continues.
    """
    source, target = open_store(place), LocalStore(directory)
    keys = [
        found.key
        for found in source.list()
        if leave_out is None or not found.key.startswith(leave_out)
    ]
    if not keys:
        raise UsageError(f"{place}: nothing is there")
    for key in keys:
        path = target.path(key)
        if not path.is_file() or not _is_there(source, key, path):
            target.put(key, source.get(key))


def _is_there(store: Store, key: str, path: Path) -> bool:
    """Say whether the store has the content of a local file."""
    return holds(store, key, sha256=file_sha256(path), num_bytes=path.stat().st_size)


@dataclass(frozen=True, slots=True)
class MirroredFile:
    """A local file that grows, of which a store keeps the state of some moments."""

    path: Path
    place: Location
    """The directory that holds the copy, under the same name."""

    def fetch(self) -> None:
        """Give the local file the content of the copy; without a copy it is removed."""
        try:
            LocalStore(self.path.parent).put(
                self.path.name, open_store(self.place).get(self.path.name)
            )
        except FileNotFoundError:
            self.path.unlink(missing_ok=True)

    def publish(self) -> None:
        """Give the copy the content of the local file."""
        open_store(self.place).put(self.path.name, self.path)
