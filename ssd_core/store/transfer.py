"""Copies of whole directories to and from any location, with every file verified.

A repeated call continues a killed transfer: files that are already equal are skipped.
"""

from dataclasses import dataclass
from pathlib import Path

from ssd_core.errors import DataError, UsageError
from ssd_core.logs import logger
from ssd_core.store.known_file import KnownFile
from ssd_core.store.local import LocalDirectory, write_file
from ssd_core.store.location import Location


def upload_directory(directory: Path, target: Location, *, last: str) -> None:
    """Copy every file below `directory` to `target`; `last` there means that all files are there.

    If any file changed, an older `last` is removed before the first file is replaced.

    Args:
        directory: the files to copy; their relative paths become the keys.
        target: a local directory or a store.
        last: relative path of the file to copy last.

    Raises:
        DataError: the directory does not contain `last`.
    """
    source = LocalDirectory(directory)
    keys = [found.key for found in source.list()]
    if last not in keys:
        raise DataError(f"{directory / last} is missing; nothing was uploaded")
    changed = [key for key in keys if not KnownFile.of(key, source.path(key)).is_in(target)]
    if changed and target.head(last) is not None:
        target.delete(last)
        changed.append(last)
    for key in sorted(set(changed), key=lambda key: (key == last, key)):
        target.put(key, source.path(key))
    logger.debug("%s: uploaded %d of %d files", target, len(set(changed)), len(keys))


def download_directory(source: Location, directory: Path, *, leave_out: str | None = None) -> None:
    """Copy every object below `source` into `directory`; other files there stay.

    Args:
        source: a local directory or a store.
        directory: the target.
        leave_out: prefix of the keys to skip; None skips nothing.

    Raises:
        UsageError: the source contains no objects.
    """
    target = LocalDirectory(directory)
    keys = [
        found.key
        for found in source.list()
        if leave_out is None or not found.key.startswith(leave_out)
    ]
    if not keys:
        raise UsageError(f"{source}: the directory does not exist or is empty")
    for key in keys:
        path = target.path(key)
        if not path.is_file() or not KnownFile.of(key, path).is_in(source):
            target.put(key, source.get(key))


@dataclass(frozen=True, slots=True)
class MirroredFile:
    """A growing local file, and the copy of an earlier state in a store."""

    path: Path
    mirror: Location
    """The directory of the copy, which has the same name."""

    def fetch(self) -> None:
        """Replace the local file with the copy, or remove it if the copy does not exist."""
        try:
            write_file(self.path, self.mirror.get(self.path.name))
        except FileNotFoundError:
            self.path.unlink(missing_ok=True)

    def publish(self) -> None:
        """Replace the copy by the local file."""
        self.mirror.put(self.path.name, self.path)
