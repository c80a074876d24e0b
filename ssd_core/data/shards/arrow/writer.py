"""Write Arrow shards."""

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ssd_core.config import SplitName
from ssd_core.data.shards.arrow import OBJECT_COLUMNS, PLAIN_COLUMNS, SCHEMA
from ssd_core.data.shards.manifest import Shard, shard_name
from ssd_core.data.sources.base import Source
from ssd_core.store.local import explain_disk_errors, make_partial_file
from ssd_core.structures import Array, Sample

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
    objects = [_object_column(samples, name, ends) for name in OBJECT_COLUMNS]
    plain = [
        pa.array([getattr(sample, name) for sample in samples], SCHEMA.field(name).type)
        for name in PLAIN_COLUMNS
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
