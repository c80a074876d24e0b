"""Read a split of a converted data set at random, whatever the format of its shards."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from ssd_core.data.shards.arrow import ArrowRows
from ssd_core.data.shards.files import ShardFiles, check_shard_sizes, open_files
from ssd_core.data.shards.manifest import Manifest, Shard, read_manifest
from ssd_core.data.shards.mindrecord.reader import MindRecordRows
from ssd_core.errors import DataError
from ssd_core.store import Location
from ssd_core.structures import ClassInfo, Record


class Rows(Protocol):
    """What the reader of a shard format offers."""

    def read(self, indices: Iterable[int]) -> Iterator[Record]:
        """Yield the records at `indices`; called from many threads.

        Raises:
            DataError: a shard does not have the content that the manifest promises.
        """

    def expect(self, numbers: Sequence[int]) -> None:
        """Say which shards are read now and next."""


ROWS: Mapping[str, Callable[[ShardFiles, Sequence[Shard]], Rows]] = {
    "arrow": ArrowRows,
    "mindrecord": MindRecordRows,
}


def open_split(data_dir: Location, split: str) -> "SplitReader":
    """Open the split `train` or `val` of a converted data set.

    The shards of a store come through the cache of this machine, see `open_cache`.

    Raises:
        DataError: no manifest, no such split, or a shard that is missing or has the wrong size.
        UsageError: the shards are MindRecord files, and MindSpore is not installed; or a store or
            cache that cannot be used.
        SurroundingsError: a store that is away.
    """
    manifest = read_manifest(data_dir)
    if split not in manifest.splits:
        raise DataError(
            f"{data_dir} has no split '{split}'; it has: {', '.join(sorted(manifest.splits))}"
        )
    check_shard_sizes(data_dir, manifest)
    return SplitReader(open_files(data_dir), manifest, split)


class SplitReader:
    """Random access to the images of one split; every method may be called from many threads."""

    def __init__(self, files: ShardFiles, manifest: Manifest, split: str) -> None:
        self.manifest = manifest
        self.split = split
        info = manifest.splits[split]  # type: ignore[index]
        self.num_images: int = info.images
        self.max_boxes: int = info.max_boxes
        self.classes: tuple[ClassInfo, ...] = manifest.class_infos()
        self.shard_rows: tuple[int, ...] = tuple(s.rows for s in info.shards if s.rows)
        self._rows = ROWS[manifest.format](files, info.shards)

    def __len__(self) -> int:
        return self.num_images

    def read(self, indices: Iterable[int]) -> Iterator[Record]:
        """Yield the records at `indices`, positions 0..num_images - 1 in any order.

        A shard is verified against its SHA-256 before its first use. The arrays and the image of a
        record are read-only.

        Raises:
            DataError: a shard does not have the content that the manifest promises.
        """
        return self._rows.read(self._checked(indices))

    def read_in_order(self) -> Iterator[Record]:
        """Yield all records; while a shard is read, the next one is fetched.

        Raises:
            DataError: as `read`.
        """
        end = 0
        for number, rows in enumerate(self.shard_rows):
            self.expect(range(number, min(number + 2, len(self.shard_rows))))
            start, end = end, end + rows
            yield from self._rows.read(range(start, end))

    def expect(self, numbers: Sequence[int]) -> None:
        """Say which shards, by their place in `shard_rows`, are read now and next.

        Of a remote data set these are fetched in the background, and the others let go; any other
        may still be read.
        """
        self._rows.expect(numbers)

    def _checked(self, indices: Iterable[int]) -> Iterator[int]:
        for index in indices:
            if not 0 <= index < self.num_images:
                raise IndexError(f"image {index} of {self.num_images}")
            yield index
