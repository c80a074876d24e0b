"""Copy a converted data set into a store: first the shards, last the manifest that names them.

In a store, the shards are in a folder whose name contains part of the listing key. So conversions
of different sources that race for one location cannot mix their files: the first to commit its
manifest wins, and all its shards are there. Shares of one conversion put theirs, and then their
journals, into the same folder. The shards keep their file names, which MindRecord files contain.
"""

import math
import time
from collections.abc import Sequence
from pathlib import Path

from ssd_core.data.ahead import map_ahead
from ssd_core.data.conversion.journal import PackedPart, journal_name
from ssd_core.data.conversion.ownership import ABANDONED_SECONDS
from ssd_core.data.conversion.part import Conversion
from ssd_core.data.shards.manifest import (
    Manifest,
    Shard,
    format_manifest,
    other_dataset,
    read_manifest,
    store_folder,
)
from ssd_core.errors import TransientError
from ssd_core.logs import Progress, logger
from ssd_core.store import LocalDirectory, Location
from ssd_core.store.layout import MANIFEST_FILE
from ssd_core.store.location import PARTIAL_PREFIX, StoredObject

_THREADS = 4
_REUSED_SECONDS = ABANDONED_SECONDS / 2
"""How long the files of an interrupted upload are reused: well before `ssd gc` may remove them."""


def publish_dataset(data_dir: Path, location: Location, *, beside: Sequence[str] = ()) -> Manifest:
    """Copy a complete data set to its directory in a store; objects already there are kept.

    The files named in `beside` are copied before the manifest if they exist. The manifest in the
    store, which is returned, has the same digest and the names of the shards in the store.
    """
    manifest = read_manifest(LocalDirectory(data_dir))
    paths = [data_dir / shard.name for shard in manifest.shards()]
    if location.head(MANIFEST_FILE) is None:
        folder = store_folder(manifest.listing_key)
        renamed = manifest.rename_shards(lambda name: f"{folder}/{name}")
        _upload(location, paths, renamed.shards(), max_age=_REUSED_SECONDS)
        for name in beside:
            _mirror(location, data_dir, name)
        location.put_if_absent(MANIFEST_FILE, format_manifest(renamed).encode())
    published = read_manifest(location)
    if published.digest != manifest.digest:
        raise other_dataset(location, f"its digest is {published.digest[:12]}…")
    # Now the manifest owns the shards; this restores any that were removed before that.
    _upload(location, paths, published.shards(), max_age=math.inf)
    shares_dir = location / store_folder(manifest.listing_key)
    for found in shares_dir.list("journal"):
        shares_dir.delete(found.key)
    return published


def publish_share(conversion: Conversion, packed: Sequence[PackedPart]) -> None:
    """Copy the shards of a share to the store of the data set, and last its journal."""
    shards = [shard for part in packed for shard in part.shards]
    paths = [conversion.out_dir / shard.name for shard in shards]
    _upload(conversion.shares_dir, paths, shards, max_age=_REUSED_SECONDS)
    name = journal_name(conversion.share)
    conversion.shares_dir.put(name, conversion.out_dir / name)


def check_writable(location: Location) -> None:
    """Store and remove an empty object, so that hours of work do not end without permission."""
    key = f"{PARTIAL_PREFIX}writable"
    location.put(key, b"")
    location.delete(key)


def _upload(
    location: Location, paths: Sequence[Path], shards: Sequence[Shard], *, max_age: float
) -> None:
    """Store the files of shards that are missing, or older than `max_age` seconds."""

    def upload(file: tuple[Path, Shard]) -> bool:
        path, shard = file
        stored = location.head(shard.name)
        is_here = path.exists()  # a share on another machine has no file here
        if stored is not None and _is_usable(stored, shard, max_age if is_here else math.inf):
            return False
        if not is_here:
            raise TransientError(
                f"{location}/{shard.name} was removed or replaced meanwhile; repeat the command"
            )
        location.put(shard.name, path)
        return True

    num_stored = 0
    with Progress("upload", len(shards)) as progress:
        files = zip(paths, shards, strict=True)
        uploads = map_ahead(upload, files, num_threads=_THREADS, depth=2 * _THREADS)
        for done, is_stored in enumerate(uploads, start=1):
            num_stored += is_stored
            progress.update(done)
    if num_stored:
        logger.info("uploaded %d of %d files", num_stored, len(shards))


def _is_usable(stored: StoredObject, shard: Shard, max_age: float) -> bool:
    """Return whether an object can be reused; without a hash its name identifies its content."""
    is_equal = stored.num_bytes == shard.num_bytes and stored.sha256 in {"", shard.sha256}
    return is_equal and time.time() - stored.changed < max_age


def _mirror(location: Location, data_dir: Path, name: str) -> None:
    """Store a small file, or remove the one of an earlier conversion."""
    path = data_dir / name
    if path.exists():
        location.put(name, path)
    elif location.head(name) is not None:
        location.delete(name)
