"""Find and remove leftovers of killed runs: only files that a journal or a name shows as ours."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ssd_core.data.conversion.ownership import (
    ABANDONED_SECONDS,
    find_abandoned,
    find_unowned,
    remove,
    try_lock,
)
from ssd_core.data.shards.manifest import dataset_of, read_if_any
from ssd_core.errors import DataError, UsageError
from ssd_core.logs import logger
from ssd_core.store import LocalDirectory, Location
from ssd_core.store.local import walk
from ssd_core.store.location import PARTIAL_PREFIX
from ssd_core.store.s3.directory import S3Directory


class Garbage(NamedTuple):
    """A file, folder, object or unfinished upload that no manifest lists."""

    uri: str
    num_bytes: int


def run(
    root: Location, *, is_removed: bool, abandoned_seconds: float = ABANDONED_SECONDS
) -> Iterator[Garbage]:
    """Yield the garbage of a data set, or of everything below a root.

    A local directory: partial files, and the journal of a killed conversion with the shards that
    only it names, unless something of it changed within a day or a conversion holds its lock. A
    store: shards that no manifest lists, in data sets without an upload for a day, and unfinished
    uploads without progress for a day.

    Args:
        root: directory to search.
        is_removed: whether to remove each item before it is yielded.
        abandoned_seconds: the length of that day.

    Raises:
        UsageError: the directory does not exist, or cannot be changed.
    """
    oldest = time.time() - abandoned_seconds
    if root.local is not None:
        return _run_in_folder(root.local, oldest, is_removed=is_removed)
    assert isinstance(root, S3Directory)
    return _run_in_store(root, oldest, is_removed=is_removed)


def _run_in_folder(root: Path, oldest: float, *, is_removed: bool) -> Iterator[Garbage]:
    if not root.is_dir():
        raise UsageError(f"{root}: the directory does not exist")
    directories = sorted(Path(path) for path, _, _ in walk(root))
    for directory in directories:
        if directory.name.startswith(PARTIAL_PREFIX) or not directory.is_dir():
            continue
        with try_lock(directory) as held:
            if held == "busy":
                logger.info("%s: skipped, a conversion is running", directory)
                continue
            for path in _find_garbage(directory, oldest):
                garbage = Garbage(str(path), _num_bytes(path))
                if is_removed:
                    remove(path)
                yield garbage


def _find_garbage(directory: Path, oldest: float) -> list[Path]:
    """Return old partial files, and all that an old journal owns."""
    try:
        abandoned = find_abandoned(directory, read_if_any(LocalDirectory(directory)))
    except DataError as error:
        logger.warning("%s; no file of this data set is removed", error)
        return []
    partial = sorted(directory.glob(f"{PARTIAL_PREFIX}*"))
    if any(_changed(path) >= oldest for path in abandoned):
        abandoned = []  # without a lock, its conversion may still run
    return [*(path for path in partial if _changed(path) < oldest), *abandoned]


def _changed(path: Path) -> float:
    return max(file.lstat().st_mtime for file in _with_content(path))


def _num_bytes(path: Path) -> int:
    return sum(file.lstat().st_size for file in _with_content(path) if not file.is_dir())


def _with_content(path: Path) -> list[Path]:
    """Return a path, and all files of a directory."""
    return [path, *(Path(folder, name) for folder, _, names in walk(path) for name in names)]


def _run_in_store(root: S3Directory, oldest: float, *, is_removed: bool) -> Iterator[Garbage]:
    """Keep every data set with a young object, because a store has no locks.

    A writer uploads something every few minutes and reuses no object that is almost a day old.
    """
    uploads = list(root.unfinished_uploads())
    young = {dataset_of(upload.key) for upload in uploads if upload.changed >= oldest}
    for folder, strays in find_unowned(root, root.list()).items():
        if folder in young or any(stray.changed >= oldest for stray in strays):
            logger.info("%s/%s: skipped, it has a recent upload", root, folder)
            continue
        for stray in strays:
            if _is_still_old(root, stray.key, oldest):
                if is_removed:
                    root.delete(stray.key)
                yield Garbage(f"{root}/{stray.key}", stray.num_bytes)
    for upload in uploads:
        if upload.changed < oldest:
            if is_removed:
                root.abort_upload(upload)
            yield Garbage(f"{root}/{upload.key} (unfinished upload)", upload.num_bytes)


def _is_still_old(root: Location, key: str, oldest: float) -> bool:
    """Return whether the object has not been stored again since it was listed."""
    found = root.head(key)
    return found is not None and found.changed < oldest
