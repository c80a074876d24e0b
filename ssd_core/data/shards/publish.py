"""Copy a converted data set into a store: first what is large, last the manifest that names it.

A shard carries a part of its hash in its name there, so that conversions that race for one place
cannot mix their files: whoever commits the manifest first has won, and all it names is there.
"""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from ssd_core.data.ahead import map_ahead
from ssd_core.data.shards.manifest import (
    MANIFEST_FILE,
    Manifest,
    Shard,
    format_manifest,
    read_manifest,
)
from ssd_core.errors import OwnershipError
from ssd_core.logs import Progress, logger
from ssd_core.store import open_store
from ssd_core.store.base import Store

_THREADS = 4
_HASH_DIGITS = 16


def publish_dataset(data_dir: Path, uri: str, *, beside: Sequence[str] = ()) -> Manifest:
    """Copy the data set in `data_dir` to the store at `uri`; what is there already is kept.

    Args:
        data_dir: a complete data set.
        uri: its place in the store.
        beside: names of further files, which are copied before the manifest where they exist.

    Returns:
        The manifest in the store: of the same digest, with the names that the shards have there.

    Raises:
        OwnershipError: another data set is there.
        SurroundingsError: the store is away or full; the same call continues.
    """
    store, manifest = open_store(uri), read_manifest(data_dir)
    is_published = store.head(MANIFEST_FILE) is not None
    if is_published:
        _check_same(uri, manifest)
    renamed = {shard.name: _with_hash(shard) for shard in manifest.shards()}
    _upload(store, data_dir, renamed)
    if is_published:
        return read_manifest(uri)
    for name in beside:
        _mirror(store, data_dir, name)
    splits = {
        name: split.model_copy(update={"shards": tuple(renamed[s.name] for s in split.shards)})
        for name, split in manifest.splits.items()
    }
    published = manifest.model_copy(update={"splits": splits})
    if not store.put_if_absent(MANIFEST_FILE, format_manifest(published).encode()):
        _check_same(uri, manifest)
    return read_manifest(uri)


def _check_same(uri: str, manifest: Manifest) -> None:
    if read_manifest(uri).digest != manifest.digest:
        raise OwnershipError(f"{uri} holds another data set; choose another --out, or remove it")


def _with_hash(shard: Shard) -> Shard:
    path = PurePosixPath(shard.name)
    name = f"{path.stem}-{shard.sha256[:_HASH_DIGITS]}{path.suffix}"
    return shard.model_copy(update={"name": name})


def _upload(store: Store, data_dir: Path, renamed: dict[str, Shard]) -> None:
    """Store the shards that are not there; the hash in the name stands for the content."""

    def upload(name: str) -> bool:
        shard = renamed[name]
        stored = store.head(shard.name)
        if stored is not None and stored.num_bytes == shard.bytes:
            return False
        store.put(shard.name, data_dir / name)
        return True

    num_stored = 0
    with Progress("upload: shard", len(renamed)) as progress:
        uploads = map_ahead(upload, renamed, num_threads=_THREADS, depth=2 * _THREADS)
        for done, is_stored in enumerate(uploads, start=1):
            num_stored += is_stored
            progress.update(done)
    logger.info("uploaded %d shards, %d were there", num_stored, len(renamed) - num_stored)


def _mirror(store: Store, data_dir: Path, name: str) -> None:
    """Store a small file, or remove what an earlier conversion left under its name."""
    path = data_dir / name
    if path.exists():
        store.put(name, path)
    elif store.head(name) is not None:
        store.delete(name)
