"""Where a reader finds the files of a data set: in its folder, or in the cache of the node."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Protocol

from ssd_core.data.ahead import map_ahead
from ssd_core.data.shards.manifest import Manifest, Shard
from ssd_core.errors import DataError, OwnershipError, located
from ssd_core.store import Location, open_store
from ssd_core.store.base import Store
from ssd_core.store.cache import Cache, open_cache
from ssd_core.store.local import explain_disk_errors, file_sha256
from ssd_core.store.verified import KnownObject, verify_object


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


_verified: set[tuple[str, int, int, str]] = set()
"""Shards whose SHA-256 this process has seen to be right: path, size, time of change, hash."""

_THREADS = 8


def check_shard_sizes(data_dir: Location, manifest: Manifest) -> None:
    """Check that every shard of every split is there with its size; cheap.

    Raises:
        DataError: the first shard that is not.
        SurroundingsError: a store that is away.
    """
    store, shards = open_store(data_dir), manifest.shards()
    found = map_ahead(
        lambda shard: store.head(shard.name), shards, num_threads=_THREADS, depth=_THREADS
    )
    for shard, stored in zip(shards, found, strict=True):
        _compare_size(f"{data_dir}/{shard.name}", stored.num_bytes if stored else None, shard)


def verify_shard(path: Path, shard: Shard) -> None:
    """Compare a shard with its size and SHA-256; an unchanged file is read once a process.

    Raises:
        DataError: the shard is missing or has another content.
    """
    _compare_size(str(path), path.stat().st_size if path.is_file() else None, shard)
    status = path.stat()
    key = (str(path.resolve()), status.st_size, status.st_mtime_ns, shard.sha256)
    if key in _verified:
        return
    with explain_disk_errors(path, "read"):
        actual = file_sha256(path)
    if actual != shard.sha256:
        raise DataError(
            f"{path}: the content has SHA-256 {actual[:12]}…, the manifest says "
            f"{shard.sha256[:12]}…; delete the shard and convert the data set again"
        )
    _verified.add(key)


def find_faults(place: Location, objects: Sequence[KnownObject]) -> Iterator[str]:
    """Read what must lie at a place again and yield what is wrong, a line an object.

    Raises:
        SurroundingsError: a store that is away.
    """
    store = open_store(place)

    def find_fault(known: KnownObject) -> str | None:
        try:
            verify_object(store, known)
        except DataError as error:
            return f"{place}/{error}"
        return None

    faults = map_ahead(find_fault, objects, num_threads=_THREADS, depth=_THREADS)
    yield from filter(None, faults)


def check_unchanged(data_dir: Path, shards: Iterable[Shard], expected: Mapping[str, Shard]) -> None:
    """Refuse to replace a shard of a complete data set by one with another content.

    Args:
        data_dir: place of the data set, for the message.
        shards: what is about to get its final name.
        expected: shards of the data set by name; empty where there is none.

    Raises:
        OwnershipError: the first shard that differs.
    """
    for shard in shards:
        if expected.get(shard.name, shard) != shard:
            raise OwnershipError(
                f"{data_dir} holds another data set: the source has changed, {shard.name} would "
                "differ; choose another --out, or remove it"
            )


def _compare_size(place: str, size: int | None, shard: Shard) -> None:
    if size is None:
        raise DataError(f"{place}: the shard is missing; convert the data set again")
    if size != shard.bytes:
        raise DataError(
            f"{place}: the shard has {size} bytes, the manifest says {shard.bytes}; "
            "convert the data set again"
        )
