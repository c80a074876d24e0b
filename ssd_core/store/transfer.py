"""Whole directories between the local disk and any place, each file verified.

A killed transfer is continued by the same call: what is there and equal is not moved again.
"""

from dataclasses import dataclass
from pathlib import Path

from ssd_core.errors import DataError, UsageError
from ssd_core.logs import logger
from ssd_core.store.known_file import KnownFile
from ssd_core.store.local import LocalDirectory, file_sha256, write_file
from ssd_core.store.location import Location


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
    source = LocalDirectory(directory)
    keys = [found.key for found in source.list()]
    if last not in keys:
        raise DataError(f"{directory / last} is missing; nothing is uploaded without it")
    changed = [key for key in keys if not _is_there(place, key, source.path(key))]
    if changed and place.head(last) is not None:
        place.delete(last)
        changed.append(last)
    for key in sorted(set(changed), key=lambda key: (key == last, key)):
        place.put(key, source.path(key))
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
    target = LocalDirectory(directory)
    keys = [
        found.key
        for found in place.list()
        if leave_out is None or not found.key.startswith(leave_out)
    ]
    if not keys:
        raise UsageError(f"{place}: nothing is there")
    for key in keys:
        path = target.path(key)
        if not path.is_file() or not _is_there(place, key, path):
            target.put(key, place.get(key))


def _is_there(directory: Location, key: str, path: Path) -> bool:
    """Return whether `key` has the content of a local file."""
    known = KnownFile(name=key, num_bytes=path.stat().st_size, sha256=file_sha256(path))
    return known.is_in(directory)


@dataclass(frozen=True, slots=True)
class MirroredFile:
    """A local file that grows, of which a store keeps the state of some moments."""

    path: Path
    place: Location
    """The directory of the copy, which has the same name."""

    def fetch(self) -> None:
        """Replace the local file by the copy; without a copy it is removed."""
        try:
            write_file(self.path, self.place.get(self.path.name))
        except FileNotFoundError:
            self.path.unlink(missing_ok=True)

    def publish(self) -> None:
        """Replace the copy by the local file."""
        self.place.put(self.path.name, self.path)
