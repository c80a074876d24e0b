"""Random access to a split of a converted data set, whatever the format of its shards."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from ssd_core.config import ShardFormat
from ssd_core.data.shards.arrow.rows import ArrowRows
from ssd_core.data.shards.files import Limits, ShardFiles, check_shard_sizes
from ssd_core.data.shards.manifest import Manifest, Shard, read_manifest
from ssd_core.data.shards.mindrecord.files import MindRecordRows
from ssd_core.errors import DataError
from ssd_core.store import Location
from ssd_core.structures import ClassInfo, Record


class Rows(Protocol):
    """The rows of a split in one shard format; both methods may be called from many threads."""

    def read(self, indices: Iterable[int]) -> Iterator[Record]:
        """Yield the records at `indices`."""

    def expect(self, numbers: Sequence[int]) -> None:
        """Fetch these shards in the background, for they are read now and next."""


ROWS: Mapping[ShardFormat, Callable[[ShardFiles, Sequence[Shard], Limits], Rows]] = {
    "arrow": ArrowRows,
    "mindrecord": MindRecordRows,
}


def open_split(data_dir: Location, split: str) -> "SplitReader":
    """Open a split of a converted data set, `train`, `val` or `test`.

    The shards of a store are read through the cache of this node, see `open_cache`.
    """
    manifest = read_manifest(data_dir)
    if split not in manifest.splits:
        raise DataError(
            f"{data_dir} has no split '{split}'; it has: {', '.join(sorted(manifest.splits))}; a "
            f"conversion with --{split} adds one"
        )
    check_shard_sizes(data_dir, manifest)
    return SplitReader(ShardFiles(data_dir), manifest, split)


class SplitReader:
    """Random access to the images of one split; every method may be called from many threads."""

    def __init__(self, files: ShardFiles, manifest: Manifest, split: str) -> None:
        self.manifest = manifest
        self.split = split
        info = manifest.splits[split]  # type: ignore[index]
        self.num_images: int = info.images
        self.max_boxes: int = info.max_boxes
        self.classes: tuple[ClassInfo, ...] = manifest.classes
        self.shard_rows: tuple[int, ...] = tuple(s.rows for s in info.shards if s.rows)
        limits = Limits(num_classes=len(manifest.classes), max_boxes=info.max_boxes)
        self._rows = ROWS[manifest.format](files, info.shards, limits)

    def read(self, indices: Iterable[int]) -> Iterator[Record]:
        """Yield the records at `indices`, positions 0..num_images - 1 in any order.

        A shard is verified against its SHA-256 before its first use. The arrays and the image of a
        record are read-only.

        Raises:
            DataError: a shard does not match the manifest, or has invalid content.
        """
        return self._rows.read(self._checked(indices))

    def read_in_order(self) -> Iterator[Record]:
        """Yield all records; while one shard is read, the next one is fetched."""
        end = 0
        for number, rows in enumerate(self.shard_rows):
            self.expect(range(number, min(number + 2, len(self.shard_rows))))
            start, end = end, end + rows
            yield from self._rows.read(range(start, end))

    def expect(self, numbers: Sequence[int]) -> None:
        """Announce the shards that are read now and next, by their position in `shard_rows`.

        For a remote data set they are fetched in the background and the others are released; those
        can still be read.
        """
        self._rows.expect(numbers)

    def _checked(self, indices: Iterable[int]) -> Iterator[int]:
        for index in indices:
            if not 0 <= index < self.num_images:
                raise IndexError(f"image {index} of {self.num_images}")
            yield index
