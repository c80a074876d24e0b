"""Find and remove what killed runs left under a place and no manifest owns."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ssd_core.data.shards.journal import JOURNAL_FILE
from ssd_core.data.shards.lock import try_lock
from ssd_core.data.shards.manifest import MANIFEST_FILE, read_manifest
from ssd_core.data.shards.strays import find_strays, remove
from ssd_core.errors import DataError, UsageError
from ssd_core.logs import logger
from ssd_core.store.base import PARTIAL_PREFIX

_ABANDONED_SECONDS = 24 * 3600.0
"""Where no lock tells whether a file is still being written, it counts as abandoned after this."""


class Garbage(NamedTuple):
    """One file or folder that nothing owns."""

    path: Path
    num_bytes: int


def run(root: Path, *, is_removed: bool) -> Iterator[Garbage]:
    """Yield what nothing owns in a data set, or in everything below a root.

    In a data set, whole or unfinished, these are half-written files, shards that the manifest does
    not name, and the journal; elsewhere half-written files that nobody has touched for a day. A
    data set that a conversion works on is left alone.

    Args:
        root: where to look.
        is_removed: remove each before it is yielded, while its data set is locked.

    Raises:
        UsageError: there is no such directory, or it cannot be changed.
    """
    if not root.is_dir():
        raise UsageError(f"{root}: no such directory")
    directories = sorted(Path(path) for path, _, _ in os.walk(root))
    for directory in directories:
        if directory.name.startswith(PARTIAL_PREFIX) or not directory.is_dir():
            continue
        with try_lock(directory) as held:
            if held == "busy":
                logger.info("%s: a conversion works here, left alone", directory)
                continue
            for path in _find_garbage(directory, is_locked=held == "held"):
                garbage = Garbage(path, _num_bytes(path))
                if is_removed:
                    remove(path)
                yield garbage


def _find_garbage(directory: Path, *, is_locked: bool) -> list[Path]:
    is_dataset = any((directory / name).exists() for name in (MANIFEST_FILE, JOURNAL_FILE))
    if is_dataset:
        paths = _dataset_garbage(directory)
    else:
        paths = sorted(directory.glob(f"{PARTIAL_PREFIX}*"))
    if is_dataset and is_locked:
        return paths
    return [path for path in paths if time.time() - _changed(path) > _ABANDONED_SECONDS]


def _dataset_garbage(data_dir: Path) -> list[Path]:
    manifest = None
    if (data_dir / MANIFEST_FILE).exists():
        try:
            manifest = read_manifest(data_dir)
        except DataError as error:
            logger.warning("%s; nothing is removed here", error)
            return []
    return find_strays(data_dir, manifest)


def _changed(path: Path) -> float:
    return max((file.lstat().st_mtime for file in [path, *path.rglob("*")]), default=0.0)


def _num_bytes(path: Path) -> int:
    files = [path, *path.rglob("*")]
    return sum(file.lstat().st_size for file in files if not file.is_dir())
