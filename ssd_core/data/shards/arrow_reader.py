"""Read Arrow shards at random: memory-mapped, offsets once, image bytes as views without a copy."""

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
from ssd_core.data.shards.files import ShardFiles
from ssd_core.data.shards.manifest import Shard
from ssd_core.errors import DataError
from ssd_core.structures import Annotations, Array, Record


class ArrowRows:
    """The rows of some shards, one after the other; a shard is verified before its first use."""

    def __init__(self, files: ShardFiles, shards: Sequence[Shard]) -> None:
        self._files = files
        self._shards = shards
        self._starts = [0, *accumulate(shard.rows for shard in shards)]
        self._opened: list[_OpenShard | None] = [None] * len(shards)
        self._locks = [threading.Lock() for _ in shards]
        self._expected: tuple[int, ...] = ()

    def expect(self, numbers: Sequence[int]) -> None:
        """Fetch these shards ahead, and close the others, so that their copies may go."""
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
                    opened = self._opened[number] = _OpenShard(
                        self._files.locate(self._shards[number])
                    )
        return opened


@dataclass(frozen=True, slots=True)
class _Batch:
    """Views of one record batch."""

    image: memoryview
    image_starts: list[int]
    object_starts: list[int]
    objects: Annotations
    """Of all rows."""
    image_id: list[int]
    image_path: list[str]
    width: list[int]
    height: list[int]


class _OpenShard:
    """A verified, memory-mapped shard."""

    def __init__(self, path: Path) -> None:
        try:
            file = pa.ipc.open_file(pa.memory_map(str(path)))
            if not file.schema.equals(SCHEMA):
                raise DataError(f"{path}: unknown columns; convert the data set again")
            self._batches = [_view(file.get_batch(i)) for i in range(file.num_record_batches)]
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{path}: cannot be read as an Arrow file: {error}") from None
        sizes = [len(batch.image_starts) - 1 for batch in self._batches]
        self._starts = [0, *accumulate(sizes)]

    def record(self, row: int, index: int) -> Record:
        number = bisect_right(self._starts, row) - 1
        batch = self._batches[number]
        row -= self._starts[number]
        return Record(
            index=index,
            image=batch.image[batch.image_starts[row] : batch.image_starts[row + 1]],
            annotations=batch.objects.select(slice(*batch.object_starts[row : row + 2])),
            image_id=batch.image_id[row],
            image_path=batch.image_path[row],
            width=batch.width[row],
            height=batch.height[row],
        )


def _view(batch: Any) -> _Batch:
    image = batch.column("image")
    rows = batch.num_rows
    # The writer slices nothing, so every array starts at offset 0 of its buffers.
    starts = np.frombuffer(image.buffers()[1], np.int64)[: rows + 1]
    object_starts = np.frombuffer(batch.column("labels").buffers()[1], np.int32)[: rows + 1]
    objects = {name: _flat(batch.column(name)) for name in OBJECT_COLUMNS}
    plain = [name for name in SCHEMA.names if name != "image" and name not in OBJECT_COLUMNS]
    return _Batch(
        image=memoryview(image.buffers()[2]),
        image_starts=starts.tolist(),
        object_starts=object_starts.tolist(),
        objects=Annotations(**objects),
        **{name: batch.column(name).to_pylist() for name in plain},
    )


def _flat(column: Any) -> Array:
    """Return the values of a list column of all rows as one array."""
    values = column.flatten()
    if pa.types.is_fixed_size_list(values.type):
        flat: Array = values.flatten().to_numpy().reshape(-1, values.type.list_size)
    else:
        flat = values.to_numpy()
    return flat.view(np.bool_) if flat.dtype == np.uint8 else flat
