"""Where a reader finds the files of a data set: in its folder, or in the cache of the node."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from typing import Protocol

from ssd_core.data.ahead import map_ahead
from ssd_core.data.shards.manifest import Manifest, Shard
from ssd_core.errors import DataError, OwnershipError
from ssd_core.store import LocalDirectory, Location
from ssd_core.store.cache import Cache, open_cache
from ssd_core.store.known_file import KnownFile


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
        self.place: Location = LocalDirectory(data_dir)
        self._data_dir = data_dir

    def locate(self, shard: Shard) -> Path:
        """Return the file of a shard, which is hashed before its first use."""
        verify_shard(self._data_dir, shard)
        return self._data_dir / shard.name

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

    def __init__(self, place: Location, cache: Cache) -> None:
        self.place = place
        self._cache = cache
        self._expected: set[str] = set()

    def locate(self, shard: Shard) -> Path:
        """Return the copy of a shard; it is fetched where there is none."""
        return self._cache.fetch(self.place, shard)

    def gather(self, shards: Sequence[Shard]) -> Path:
        """Return a folder of links to the copies, which are fetched where they are not here."""
        return self._cache.name_files({shard.name: self.locate(shard) for shard in shards})

    def expect(self, shards: Sequence[Shard]) -> None:
        """Fetch in the background what is new among `shards`, as far as the cache holds it."""
        ends = accumulate(shard.num_bytes for shard in shards)
        fitting = [
            shard for shard, end in zip(shards, ends, strict=True) if end <= self._cache.max_bytes
        ]
        new = [shard for shard in fitting if shard.sha256 not in self._expected]
        self._expected = {shard.sha256 for shard in fitting}
        self._cache.prefetch(self.place, new)


def open_files(data_dir: Location) -> ShardFiles:
    """Return the files of the data set at `data_dir`.

    Raises:
        UsageError: a store or a cache that cannot be used.
    """
    if data_dir.local is not None:
        return OwnFiles(data_dir.local)
    return CachedFiles(data_dir, open_cache())


_verified: set[tuple[str, int, int, str]] = set()
"""Shards whose SHA-256 this process has seen to be right: path, size, time of change, hash."""

_THREADS = 8


def check_shard_sizes(data_dir: Location, manifest: Manifest) -> None:
    """Check that every shard of every split exists with its size; cheap.

    Raises:
        DataError: the first shard that does not.
    """
    with _remedied():
        checks = map_ahead(
            lambda shard: shard.check_size(data_dir),
            manifest.shards(),
            num_threads=_THREADS,
            depth=_THREADS,
        )
        for _ in checks:
            pass


def verify_shard(data_dir: Path, shard: Shard) -> None:
    """Compare a local shard with its size and SHA-256; a process reads an unchanged file once.

    Raises:
        DataError: the shard is missing or has another content.
    """
    directory, path = LocalDirectory(data_dir), data_dir / shard.name
    with _remedied():
        shard.check_size(directory)
        status = path.stat()
        key = (str(path.resolve()), status.st_size, status.st_mtime_ns, shard.sha256)
        if key not in _verified:
            shard.verify(directory)
            _verified.add(key)


def find_faults(directory: Location, files: Sequence[KnownFile]) -> Iterator[str]:
    """Read files again and yield what is wrong, one line per damaged file."""

    def find_fault(file: KnownFile) -> str | None:
        try:
            file.verify(directory)
        except DataError as error:
            return str(error)
        return None

    faults = map_ahead(find_fault, files, num_threads=_THREADS, depth=_THREADS)
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


@contextmanager
def _remedied() -> Iterator[None]:
    """Add the remedy to a DataError about a shard."""
    try:
        yield
    except DataError as error:
        raise DataError(
            f"{error}; delete the file, if any, and convert the data set again"
        ) from None
