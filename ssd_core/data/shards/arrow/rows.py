"""Read Arrow shards, after a check of their content."""

import threading
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ssd_core.data.shards.arrow import OBJECT_COLUMNS, SCHEMA
from ssd_core.data.shards.files import Limits, ShardFiles
from ssd_core.data.shards.manifest import Shard
from ssd_core.errors import DataError
from ssd_core.structures import Annotations, Array, Record


class ArrowRows:
    """The rows of several shards in sequence; a shard is verified before its first use."""

    def __init__(self, files: ShardFiles, shards: Sequence[Shard], limits: Limits) -> None:
        self._files = files
        self._shards, self._limits = shards, limits
        self._starts = [0, *accumulate(shard.rows for shard in shards)]
        self._opened: list[_OpenShard | None] = [None] * len(shards)
        self._locks = [threading.Lock() for _ in shards]
        self._expected: tuple[int, ...] = ()

    def expect(self, numbers: Sequence[int]) -> None:
        """Fetch these shards in advance, and close the others, so that their copies can go."""
        expected = tuple(numbers)
        if not self._files.are_copies or expected == self._expected:
            return
        self._expected = expected
        self._files.expect([self._shards[number] for number in expected])
        for number in set(range(len(self._opened))).difference(expected):
            self._opened[number] = None

    def read(self, indices: Iterable[int]) -> Iterator[Record]:
        """Yield the records at `indices`; arrays and images are read-only views of the shard."""
        for index in map(int, indices):
            shard = bisect_right(self._starts, index) - 1
            yield self._shard(shard).record(index - self._starts[shard], index)

    def _shard(self, number: int) -> "_OpenShard":
        opened = self._opened[number]
        if opened is None:
            with self._locks[number]:
                opened = self._opened[number]
                if opened is None:
                    opened = self._open(self._shards[number])
                    self._opened[number] = opened
        return opened

    def _open(self, shard: Shard) -> "_OpenShard":
        with self._files.locate(shard) as path:
            try:
                opened = _OpenShard(path, self._limits)
                if opened.num_rows != shard.rows:
                    raise DataError(f"{opened.num_rows} rows, the manifest has {shard.rows}")
            except (pa.ArrowException, OSError, DataError) as error:
                raise DataError(
                    f"{self._files.location / shard.name} is not a valid shard: {error}; "
                    "convert the data set again"
                ) from None
        return opened


@dataclass(frozen=True, slots=True)
class _Batch:
    """Views of one record batch."""

    image: memoryview
    image_starts: list[int]
    object_starts: list[int]
    objects: Annotations
    """Of all rows."""
    image_ids: list[int]
    image_paths: list[str]
    widths: list[int]
    heights: list[int]


class _OpenShard:
    """A verified, memory-mapped shard with sound content."""

    def __init__(self, path: Path, limits: Limits) -> None:
        file = pa.ipc.open_file(pa.memory_map(str(path)))
        if not file.schema.equals(SCHEMA):
            raise DataError("it has other columns")
        batches = (file.get_batch(index) for index in range(file.num_record_batches))
        self._batches = [_view(batch, limits) for batch in batches if batch.num_rows]
        sizes = [len(batch.image_starts) - 1 for batch in self._batches]
        self._starts = [0, *accumulate(sizes)]
        self.num_rows = self._starts[-1]

    def record(self, row: int, index: int) -> Record:
        number = bisect_right(self._starts, row) - 1
        batch = self._batches[number]
        row -= self._starts[number]
        starts, objects = batch.image_starts, batch.object_starts
        return Record(
            index=index,
            image_id=batch.image_ids[row],
            image_path=batch.image_paths[row],
            width=batch.widths[row],
            height=batch.heights[row],
            image=batch.image[starts[row] : starts[row + 1]],
            annotations=batch.objects.select(slice(objects[row], objects[row + 1])),
        )


def _view(batch: Any, limits: Limits) -> _Batch:
    """Check a record batch, which another program may have written, and return views of it."""
    batch.validate(full=True)
    if any(_has_nulls(column) for column in batch.columns):
        raise DataError("a value is null")
    image, rows = batch.column("image"), batch.num_rows
    # A file has no slices, so every array starts at offset 0 of its buffers.
    starts = np.frombuffer(image.buffers()[1], np.int64)[: rows + 1]
    if (np.diff(starts) == 0).any():
        raise DataError("an image is empty")
    ends = [batch.column(name).offsets.to_numpy() for name in OBJECT_COLUMNS]
    if any((np.diff(each) != np.diff(ends[0])).any() for each in ends[1:]):
        raise DataError("the objects of an image have different numbers of values")
    objects = Annotations(**{name: _flat(batch.column(name)) for name in OBJECT_COLUMNS})
    sizes = np.column_stack([batch.column(side) for side in ("width", "height")])
    if fault := limits.find_fault(objects, np.diff(ends[0]), sizes):
        raise DataError(fault)
    return _Batch(
        image=memoryview(image.buffers()[2]),
        image_starts=starts.tolist(),
        object_starts=(ends[0] - ends[0][0]).tolist(),
        objects=objects,
        image_ids=batch.column("image_id").to_pylist(),
        image_paths=batch.column("image_path").to_pylist(),
        widths=batch.column("width").to_pylist(),
        heights=batch.column("height").to_pylist(),
    )


def _has_nulls(column: Any) -> bool:
    is_nested = pa.types.is_nested(column.type)
    return bool(column.null_count) or (is_nested and _has_nulls(column.flatten()))


def _flat(column: Any) -> Array:
    """Return the values of a list column in all rows as one array."""
    values = column.flatten()
    if pa.types.is_fixed_size_list(values.type):
        flat: Array = values.flatten().to_numpy().reshape(-1, values.type.list_size)
    else:
        flat = values.to_numpy()
    if flat.dtype != np.uint8:
        return flat
    if flat.max(initial=0) > 1:
        raise DataError("a flag is neither 0 nor 1")
    return flat.view(np.bool_)
