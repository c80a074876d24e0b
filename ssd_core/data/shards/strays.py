"""What lies at a data set's place and its manifest does not own: the remains of killed runs."""

import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from ssd_core.data.shards.journal import JOURNAL_FILE, journalled_shards
from ssd_core.data.shards.manifest import Manifest, read_if_any
from ssd_core.data.shards.publish import dataset_of
from ssd_core.errors import DataError
from ssd_core.logs import logger
from ssd_core.store import join_location
from ssd_core.store.base import PARTIAL_PREFIX, StoredObject
from ssd_core.store.local import explain_disk_errors

_PATTERNS = ("train-?????.arrow", "val-?????.arrow", JOURNAL_FILE, f"{PARTIAL_PREFIX}*")


def find_strays(data_dir: Path, manifest: Manifest | None) -> list[Path]:
    """Return journal, half-written files and shards that `manifest` does not name, sorted.

    Nothing else is meant: a directory may hold files of other programs. No manifest owns nothing.
    """
    paths = {path for pattern in _PATTERNS for path in data_dir.glob(pattern)}
    paths |= {data_dir / name for name in journalled_shards(data_dir)}
    if manifest is not None:
        paths -= {data_dir / shard.name for shard in manifest.shards()}
    return sorted(path for path in paths if path.exists())


def find_unowned(uri: str, objects: Iterable[StoredObject]) -> dict[str, list[StoredObject]]:
    """Return the shards in a store that no manifest names, by the folder of their data set.

    Args:
        uri: what the keys of the objects are relative to.
        objects: a listing.

    Raises:
        SurroundingsError: the store is away.
    """
    shards: dict[str, list[StoredObject]] = {}
    for found in objects:
        folder = dataset_of(found.key)
        if folder is not None:
            shards.setdefault(folder, []).append(found)
    unowned = {}
    for folder, stored in shards.items():
        place = join_location(uri, *filter(None, [folder]))
        try:
            manifest = read_if_any(place)
        except DataError as error:
            logger.warning("%s; nothing is removed here", error)
            continue
        owned = {shard.name for shard in manifest.shards()} if manifest else set()
        start = len(f"{folder}/") if folder else 0
        strays = [found for found in stored if found.key[start:] not in owned]
        if strays:
            unowned[folder] = strays
    return unowned


def remove(path: Path) -> None:
    """Remove a file or a folder; no error where another was faster."""
    with explain_disk_errors(path), suppress(FileNotFoundError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
