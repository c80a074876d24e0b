"""Where a reader finds the files of a data set: in its folder, or in the cache of the node."""

from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Protocol

from ssd_core.data.shards.integrity import verify_shard
from ssd_core.data.shards.manifest import Shard
from ssd_core.errors import located
from ssd_core.store import Location, open_store
from ssd_core.store.base import Store
from ssd_core.store.cache import Cache, open_cache


class ShardFiles(Protocol):
    """The files of a data set."""

    place: Location
    """Of the data set, for messages."""
    are_copies: bool
    """They take space that is given back when nobody has them open."""

    def locate(self, shard: Shard) -> Path:
        """Return a verified local file; open it at once.

        Raises:
            DataError: the shard does not have the content that the manifest promises.
        """

    def gather(self, shards: Sequence[Shard]) -> Path:
        """Return a folder with these verified files under their names; open them at once.

        Raises:
            DataError: as `locate`.
        """

    def expect(self, shards: Sequence[Shard]) -> None:
        """Say which shards are read now and next; the first ones first."""


class OwnFiles:
    """The files of a local folder."""

    are_copies = False

    def __init__(self, data_dir: Path) -> None:
        self.place: Location = data_dir
        self._data_dir = data_dir

    def locate(self, shard: Shard) -> Path:
        """Return the file of a shard, which is hashed before its first use."""
        path = self._data_dir / shard.name
        verify_shard(path, shard)
        return path

    def gather(self, shards: Sequence[Shard]) -> Path:
        """Return the folder of the data set."""
        for shard in shards:
            self.locate(shard)
        return self._data_dir

    def expect(self, shards: Sequence[Shard]) -> None:
        """Do nothing: all files are here."""


class CachedFiles:
    """Copies of the objects of a store, in the cache that the processes of a node share."""

    are_copies = True

    def __init__(self, uri: str, store: Store, cache: Cache) -> None:
        self.place: Location = uri
        self._store, self._cache = store, cache
        self._expected: set[str] = set()

    def locate(self, shard: Shard) -> Path:
        """Return the copy of a shard; it is fetched where there is none."""
        with located(str(self.place)):
            return self._cache.fetch(self._store, shard.known)

    def gather(self, shards: Sequence[Shard]) -> Path:
        """Return a folder of links to the copies, which are fetched where they are not here."""
        return self._cache.name_files({shard.name: self.locate(shard) for shard in shards})

    def expect(self, shards: Sequence[Shard]) -> None:
        """Fetch in the background what is new among `shards`, as far as the cache holds it."""
        ends = accumulate(shard.bytes for shard in shards)
        fitting = [
            shard for shard, end in zip(shards, ends, strict=True) if end <= self._cache.max_bytes
        ]
        new = [shard for shard in fitting if shard.sha256 not in self._expected]
        self._expected = {shard.sha256 for shard in fitting}
        self._cache.prefetch(self._store, [shard.known for shard in new])


def open_files(data_dir: Location) -> ShardFiles:
    """Return the files of the data set at `data_dir`.

    Raises:
        UsageError: a store or a cache that cannot be used.
    """
    if isinstance(data_dir, Path):
        return OwnFiles(data_dir)
    return CachedFiles(data_dir, open_store(data_dir), open_cache())
