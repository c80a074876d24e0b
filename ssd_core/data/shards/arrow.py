"""Arrow shards: Arrow IPC files, written from the image files and read without copies.

The same rows give the same bytes: fixed schema and order, no timestamps, no compression, one
writer. A reader maps a shard into memory and returns views of it.
"""

import hashlib
import os
import threading
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, fields
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ssd_core.config import SplitName
from ssd_core.data.shards.files import Limits, ShardFiles
from ssd_core.data.shards.manifest import Shard, shard_name
from ssd_core.data.sources.base import Source
from ssd_core.errors import DataError
from ssd_core.store.local import explain_disk_errors, make_partial_file
from ssd_core.structures import Annotations, Array, Record, Sample

SCHEMA = pa.schema(
    [
        ("image", pa.large_binary()),
        ("boxes", pa.list_(pa.list_(pa.float32(), 4))),
        ("labels", pa.list_(pa.int64())),
        ("areas", pa.list_(pa.float64())),
        ("is_crowd", pa.list_(pa.uint8())),
        ("is_difficult", pa.list_(pa.uint8())),
        ("box_ids", pa.list_(pa.int64())),
        ("image_id", pa.int64()),
        ("image_path", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
    ]
)
_OBJECT_COLUMNS = [field.name for field in fields(Annotations)]
_PLAIN_COLUMNS = ("image_id", "image_path", "width", "height")

_BATCH_BYTES = 8 * 2**20
_WRITE_BYTES = 2 * 2**20
"""Per call: for a whole batch at once, the kernel takes twice the time to find the memory."""
_OPTIONS = pa.ipc.IpcWriteOptions(metadata_version=pa.ipc.MetadataVersion.V5, compression=None)


class ArrowWriter:
    """Writes the samples of a part to one shard; see `conversion.part.Writer`."""

    def __init__(self, out_dir: Path, split: SplitName, index: int, sizes: Sequence[int]) -> None:
        """Prepare a shard; its file is created with the first batch."""
        self._path = out_dir / shard_name(split, index)
        self._buffer, self._other_buffer = (
            np.empty(max(_BATCH_BYTES, *sizes) + 1, np.uint8) for _ in range(2)
        )
        self._offsets = [0]
        self._samples: list[Sample] = []
        self._image_bytes = 0
        self._rows = 0
        self._file: _HashingFile | None = None
        self._writer: Any = None
        self._thread = ThreadPoolExecutor(1)
        self._writing: Future[None] | None = None

    def __enter__(self) -> "ArrowWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown()
        if self._file is not None:
            self._file.close()
            self._file.path.unlink(missing_ok=True)

    def load(self, source: Source, name: str) -> memoryview:
        """Read an image into the buffer, behind the appended ones; valid until the next call."""
        size = source.files[name].num_bytes
        start = self._offsets[-1]
        if start and start + size > _BATCH_BYTES:
            self._write_batch()
            start = 0
        # Requesting one byte more than listed lets the caller notice a file that has grown.
        space = self._buffer.data[start : start + size + 1]
        self._image_bytes = source.read_into(name, space)
        return space[: self._image_bytes]

    def append(self, sample: Sample) -> None:
        """Append the sample whose image was loaded last."""
        self._samples.append(sample)
        self._offsets.append(self._offsets[-1] + self._image_bytes)
        self._rows += 1

    def finish(self) -> list[tuple[Path, Shard]]:
        """Complete the shard under its temporary path."""
        self._write_batch()
        if self._file is None:
            return []
        with explain_disk_errors(self._path):
            self._wait()
            self._writer.close()
        shard = Shard(
            name=self._path.name,
            num_bytes=self._file.num_bytes,
            rows=self._rows,
            sha256=self._file.sha256.hexdigest(),
        )
        return [(self._file.path, shard)]

    def _write_batch(self) -> None:
        if not self._samples:
            return
        batch = _record_batch(self._samples, self._offsets, self._buffer)
        with explain_disk_errors(self._path):
            if self._file is None:
                self._file = _HashingFile(make_partial_file(self._path))
                self._writer = pa.ipc.new_file(self._file, SCHEMA, options=_OPTIONS)
            self._wait()
        # The other thread writes and hashes this batch while the next one is filled.
        self._writing = self._thread.submit(self._writer.write_batch, batch)
        self._buffer, self._other_buffer = self._other_buffer, self._buffer
        self._samples, self._offsets = [], [0]

    def _wait(self) -> None:
        if self._writing is not None:
            self._writing.result()


def _record_batch(samples: Sequence[Sample], offsets: Sequence[int], buffer: Array) -> Any:
    """Build a batch around the image bytes in `buffer`, without copying them."""
    data = pa.py_buffer(buffer)[: offsets[-1]]
    starts = pa.py_buffer(np.asarray(offsets, np.int64))
    images = pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(samples), [None, starts, data])
    ends = np.cumsum([0, *(len(sample.annotations) for sample in samples)], dtype=np.int32)
    objects = [_object_column(samples, name, ends) for name in _OBJECT_COLUMNS]
    plain = [
        pa.array([getattr(sample, name) for sample in samples], SCHEMA.field(name).type)
        for name in _PLAIN_COLUMNS
    ]
    return pa.record_batch([images, *objects, *plain], schema=SCHEMA)


def _object_column(samples: Sequence[Sample], name: str, ends: Array) -> Any:
    kind = SCHEMA.field(name).type
    values = np.concatenate([getattr(sample.annotations, name) for sample in samples])
    if name == "boxes":
        flat = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), type=kind.value_type)
    else:
        flat = pa.array(values.view(np.uint8) if values.dtype == np.bool_ else values)
    return pa.ListArray.from_arrays(pa.array(ends), flat, type=kind)


class _HashingFile:
    """A file that counts and hashes its bytes as they are written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.num_bytes = 0
        self.sha256 = hashlib.sha256()
        self.closed = False
        self._descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC)

    def write(self, data: Any) -> int:
        rest = memoryview(data).cast("B")
        size = len(rest)
        self.num_bytes += size
        while len(rest):
            written = os.write(self._descriptor, rest[:_WRITE_BYTES])
            self.sha256.update(rest[:written])
            rest = rest[written:]
        return size

    def flush(self) -> None:
        """Do nothing: the file is unbuffered."""

    def close(self) -> None:
        if not self.closed:
            os.close(self._descriptor)
        self.closed = True


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
        path = self._files.locate(shard)
        try:
            opened = _OpenShard(path, self._limits)
            if opened.num_rows != shard.rows:
                raise DataError(f"{opened.num_rows} rows, the manifest says {shard.rows}")
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
    ends = [batch.column(name).offsets.to_numpy() for name in _OBJECT_COLUMNS]
    if any((np.diff(each) != np.diff(ends[0])).any() for each in ends[1:]):
        raise DataError("the objects of an image have different numbers of values")
    objects = Annotations(**{name: _flat(batch.column(name)) for name in _OBJECT_COLUMNS})
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
