"""The files of a data set: where a reader finds them, and whether they match the manifest.

A reader takes nothing of a file for granted, because any program may have written it.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import numpy as np

from ssd_core.data.ahead import map_ahead
from ssd_core.data.shards.manifest import Manifest, Shard
from ssd_core.errors import SsdError, remedied
from ssd_core.store import LocalDirectory, Location
from ssd_core.store.cache import open_cache
from ssd_core.store.known_file import KnownFile
from ssd_core.structures import Annotations, IntArray

_verified: set[tuple[str, int, int, str]] = set()
"""Shards that this process has verified: path, size, modification time, SHA-256."""

_THREADS = 8
_REMEDY = "delete the file, if any, and convert the data set again"


class ShardFiles:
    """The files of a data set, in its folder or, for a store, in the cache of this node."""

    def __init__(self, location: Location) -> None:
        """Open the cache for a data set in a store; read nothing yet."""
        self.location = location
        self._folder = location.local or Path()  # unused if there is a cache
        self._cache = open_cache() if location.local is None else None
        self._expected: set[str] = set()

    @property
    def are_copies(self) -> bool:
        """Whether the files occupy space that is freed when no process has them open."""
        return self._cache is not None

    @contextmanager
    def locate(self, shard: Shard) -> Iterator[Path]:
        """Yield a verified local file, which stays until the end of the block."""
        if self._cache is not None:
            with self._cache.fetch(self.location, shard) as path:
                yield path
        else:
            verify_shard(self._folder, shard)
            yield self._folder / shard.name

    @contextmanager
    def gather(self, shards: Sequence[Shard]) -> Iterator[Path]:
        """Yield a folder with these verified files under their names, as in `locate`."""
        with ExitStack() as held:
            paths = {shard.name: held.enter_context(self.locate(shard)) for shard in shards}
            yield self._folder if self._cache is None else self._cache.name_files(paths)

    def expect(self, shards: Sequence[Shard]) -> None:
        """Fetch the shards needed next in the background, as far as they fit into the cache."""
        if self._cache is None:
            return
        ends = accumulate(shard.num_bytes for shard in shards)
        limit = self._cache.max_bytes
        fitting = [shard for shard, end in zip(shards, ends, strict=True) if end <= limit]
        new = [shard for shard in fitting if shard.sha256 not in self._expected]
        self._expected = {shard.sha256 for shard in fitting}
        self._cache.prefetch(self.location, new)


def check_shard_sizes(data_dir: Location, manifest: Manifest) -> None:
    """Raise DataError for the first shard of any split that is missing or has a wrong size.

    A listing costs a request per thousand shards, where many ranks would each look up every shard.
    """
    sizes = {found.key: found.num_bytes for found in data_dir.list()}
    with remedied(_REMEDY):
        for shard in manifest.shards():
            if sizes.get(shard.name) != shard.num_bytes:
                shard.check_size(data_dir)  # a listing may be older


def verify_shard(data_dir: Path, shard: Shard) -> None:
    """Compare a local shard with its size and SHA-256; a process reads an unchanged file once.

    Raises:
        DataError: the shard is missing or has different content.
    """
    directory, path = LocalDirectory(data_dir), data_dir / shard.name
    with remedied(_REMEDY):
        shard.check_size(directory)
        status = path.stat()
        key = (str(path.resolve()), status.st_size, status.st_mtime_ns, shard.sha256)
        if key not in _verified:
            shard.verify(directory)
            _verified.add(key)


def find_faults(directory: Location, files: Sequence[KnownFile]) -> Iterator[str]:
    """Read files again and yield one line per missing or damaged file."""

    def find_fault(file: KnownFile) -> str | None:
        try:
            file.verify(directory)
        except SsdError as error:  # also of a file that cannot be read
            return str(error)
        return None

    faults = map_ahead(find_fault, files, num_threads=_THREADS, depth=_THREADS)
    yield from filter(None, faults)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The numbers of a manifest that the rows of a split must keep to."""

    num_classes: int
    max_boxes: int
    """Largest number of objects in one image."""

    def find_fault(self, objects: Annotations, counts: IntArray, sizes: IntArray) -> str | None:
        """Return the first fault of R rows, or None.

        Args:
            objects: [N], of all rows in sequence.
            counts: [R] objects of each row.
            sizes: [R, 2] width and height of each image in pixels.
        """
        if sizes.min(initial=1) < 1:
            return "an image without width or height"
        if counts.max(initial=0) > self.max_boxes:
            return f"{counts.max()} objects in one image, the manifest has at most {self.max_boxes}"
        if objects.labels.min(initial=1) < 1 or objects.labels.max(initial=1) > self.num_classes:
            return f"a class outside 1..{self.num_classes}"
        low, high = objects.boxes[:, :2], objects.boxes[:, 2:]
        is_sound = (low >= 0) & (low < high) & (high <= np.repeat(sizes, counts, axis=0))
        if not is_sound.all():  # also where a coordinate is not a number
            return "a box without area, or outside its image"
        return None
