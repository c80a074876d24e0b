"""Ownership of a data set's directory: one writer at a time, and the files no manifest owns.

Killed runs leave half-written files, a journal, and shards that are not in any manifest.
"""

import fcntl
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from ssd_core.data.conversion.journal import JOURNAL_NAME, journalled_shards
from ssd_core.data.shards.manifest import SHARD_NAME, Manifest, dataset_of, read_if_any
from ssd_core.errors import DataError
from ssd_core.logs import logger
from ssd_core.process import watchdog
from ssd_core.store import LocalDirectory, Location
from ssd_core.store.local import explain_disk_errors
from ssd_core.store.location import PARTIAL_PREFIX, StoredObject

ABANDONED_SECONDS = 24 * 3600.0
"""Without a lock, files count as abandoned after this time without a change: writers change
something every few minutes."""

Held = Literal["held", "busy", "unknown"]
"""State of the lock; `unknown` if the file system cannot lock a directory."""


@contextmanager
def lock_dataset(data_dir: Path, *, shared: bool = False) -> Iterator[None]:
    """Lock an existing directory, waiting for its present holders.

    Shared holders, the shares of one conversion, write files of different names.
    """
    mode = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    with _open_directory(data_dir) as descriptor:
        if _try_lock(descriptor, data_dir, mode) == "busy":
            logger.info("%s: waiting for another conversion in this directory", data_dir)
            with watchdog.waiting():
                fcntl.flock(descriptor, mode)
        yield


@contextmanager
def try_lock(data_dir: Path) -> Iterator[Held]:
    """Lock an existing directory if it is free, without waiting; yield the state of the lock."""
    with _open_directory(data_dir) as descriptor:
        yield _try_lock(descriptor, data_dir, fcntl.LOCK_EX)


@contextmanager
def _open_directory(data_dir: Path) -> Iterator[int]:
    with explain_disk_errors(data_dir, "read"):
        descriptor = os.open(data_dir, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int, data_dir: Path, mode: int) -> Held:
    try:
        fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        return "busy"
    except OSError as error:  # some network file systems cannot lock a directory
        logger.debug("%s: cannot be locked: %s", data_dir, error.strerror)
        return "unknown"
    return "held"


def find_strays(data_dir: Path, manifest: Manifest) -> list[Path]:
    """Return the journals, half-written files and shards that `manifest` does not name, sorted.

    The caller has just written the manifest: here every file with the name of a shard is ours.
    """
    paths = {
        path
        for path in data_dir.iterdir()
        if path.name.startswith(PARTIAL_PREFIX)
        or SHARD_NAME.fullmatch(path.name)
        or JOURNAL_NAME.fullmatch(path.name)
    }
    for name in _journals_in(data_dir):
        paths |= {data_dir / shard.name for shard in journalled_shards(data_dir, name) or ()}
    paths -= {data_dir / shard.name for shard in manifest.shards()}
    return sorted(path for path in paths if path.exists())


def _journals_in(data_dir: Path) -> list[str]:
    return [path.name for path in data_dir.iterdir() if JOURNAL_NAME.fullmatch(path.name)]


def find_abandoned(data_dir: Path, manifest: Manifest | None) -> list[Path]:
    """Return the journals of a killed conversion and the shards that only they name, sorted.

    A file of the same name with other content is not returned: another program stored it there.
    """
    owned = {shard.name for shard in manifest.shards()} if manifest else set()
    directory = LocalDirectory(data_dir)
    names = set()
    for journal in _journals_in(data_dir):
        shards = journalled_shards(data_dir, journal)
        if shards is not None:
            found = {s.name for s in shards if s.name not in owned and s.is_in(directory)}
            names |= {journal, *found}
    return sorted(data_dir / name for name in names)


def find_unowned(root: Location, objects: Iterable[StoredObject]) -> dict[str, list[StoredObject]]:
    """Return the listed shards below `root` that no manifest names, by data set folder."""
    shards: dict[str, list[StoredObject]] = {}
    for found in objects:
        folder = dataset_of(found.key)
        if folder is not None:
            shards.setdefault(folder, []).append(found)
    unowned = {}
    for folder, stored in shards.items():
        location = root / folder
        try:
            manifest = read_if_any(location)
        except DataError as error:
            logger.warning("%s; no shard of this data set is removed", error)
            continue
        owned = {shard.name for shard in manifest.shards()} if manifest else set()
        start = len(f"{folder}/") if folder else 0
        strays = [found for found in stored if found.key[start:] not in owned]
        if strays:
            unowned[folder] = strays
    return unowned


def remove(path: Path) -> None:
    """Remove a file or a folder; one that is already gone is not an error."""
    with explain_disk_errors(path), suppress(FileNotFoundError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
