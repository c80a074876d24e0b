"""Write and read MindRecord shards with MindSpore.

This is the only module that imports MindSpore's data packages, and only when they are needed.
"""

import shutil
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ssd_core.config import ConvertConfig, SplitName
from ssd_core.data.ahead import batched
from ssd_core.data.checking.samples import check_sample
from ssd_core.data.findings import Findings
from ssd_core.data.shards.files import Limits, ShardFiles
from ssd_core.data.shards.manifest import Shard
from ssd_core.data.shards.mindrecord.format import (
    FILE_NAMES,
    SCHEMA,
    columns_to_read,
    count_rows,
    describe_files,
    make_row,
    read_header,
    read_row,
)
from ssd_core.data.sources.base import Source
from ssd_core.errors import DataError, OwnershipError, TransientError
from ssd_core.process.packages import check_version
from ssd_core.store import Location
from ssd_core.store.local import explain_disk_errors, flush, make_directory
from ssd_core.store.location import PARTIAL_PREFIX
from ssd_core.structures import Record, Sample

_ROWS_PER_CALL = 200
_BYTES_PER_CALL = 64 * 2**20
_OBJECT_BYTES = 2 * 2**20
"""Reserved in a page for everything except the image."""
_MIN_PAGE_BYTES, _MAX_PAGE_BYTES = 4 * 2**20, 256 * 2**20
_MIN_HEADER_BYTES, _MAX_HEADER_BYTES = 2**17, 128 * 2**20
_HEADER_BYTES_PER_PAGE = 1024
"""Four times the size of a page's entry in the header."""

_ROWS_PER_PIPELINE = 64
_REPAIR = ConvertConfig(policy="repair", max_pixels=2**62)
_PLAIN_FIELDS = ("image_id", "image_path", "width", "height", "annotations")


def import_mindspore() -> Any:
    """Return the package `mindspore` including the modules that read and write MindRecord files."""
    check_version("mindspore")
    import mindspore
    import mindspore.dataset
    import mindspore.mindrecord

    return mindspore


def describe_error(error: RuntimeError) -> str:
    """Return the line of a MindSpore error message that contains the cause."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    marked = [line.removeprefix("[ERROR] ") for line in lines if line.startswith("[ERROR] ")]
    return (marked or lines or ["unknown error"])[0]


class MindRecordWriter:
    """Writes a split to one MindRecord file with its index; see `conversion.part.Writer`.

    To one file only, because MindSpore distributes rows over several files at random.
    """

    def __init__(self, out_dir: Path, split: SplitName, index: int, sizes: Sequence[int]) -> None:
        assert index == 0, "a split is one part"
        self._out_dir, self._name = out_dir, FILE_NAMES[split]
        page_bytes = max(sizes) + _OBJECT_BYTES
        self._page_bytes = _power_of_two(page_bytes, _MIN_PAGE_BYTES, _MAX_PAGE_BYTES)
        header_bytes = sum(sizes) // self._page_bytes * _HEADER_BYTES_PER_PAGE
        self._header_bytes = _power_of_two(header_bytes, _MIN_HEADER_BYTES, _MAX_HEADER_BYTES)
        self._folder: Path | None = None
        self._writer: Any = None
        self._image = b""
        self._pending: list[dict[str, Any]] = []
        self._pending_bytes = 0
        self._num_rows = 0

    def __enter__(self) -> "MindRecordWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._writer = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def load(self, source: Source, name: str) -> memoryview:
        """Read an image that fits into a page; valid until the next call."""
        size, limit = source.files[name].num_bytes, _MAX_PAGE_BYTES - _OBJECT_BYTES
        if size > limit:
            raise DataError(
                f"{name} has {size} bytes, but MindRecord supports images of up to {limit}"
            )
        self._image = source.read(name)
        return memoryview(self._image)

    def append(self, sample: Sample) -> None:
        """Append the sample whose image was loaded last."""
        self._pending.append(make_row(sample, self._image))
        self._pending_bytes += len(self._image)
        if len(self._pending) >= _ROWS_PER_CALL or self._pending_bytes >= _BYTES_PER_CALL:
            self._write_pending()

    def finish(self) -> list[tuple[Path, Shard]]:
        """Complete the file and its index in the temporary folder."""
        self._write_pending()
        if self._folder is None:
            return []
        with _explain_errors(self._out_dir):
            self._writer.commit()
        path = self._folder / self._name
        if count_rows(path) != self._num_rows:
            raise TransientError(f"{path}: MindSpore lost rows; is the disk full?")
        with ThreadPoolExecutor(1) as pool:  # hashing and waiting for the disk, in parallel
            flushed = pool.submit(flush, path)
            shards = describe_files(self._folder, [self._name])
            with explain_disk_errors(self._out_dir):
                flushed.result()
        return [(self._folder / shard.name, shard) for shard in shards]

    def _write_pending(self) -> None:
        if not self._pending:
            return
        if self._writer is None:
            self._open()
        with _explain_errors(self._out_dir):
            self._writer.write_raw_data(self._pending)
        self._num_rows += len(self._pending)
        self._pending, self._pending_bytes = [], 0

    def _open(self) -> None:
        mindrecord = import_mindspore().mindrecord
        self._check_owner()
        make_directory(self._out_dir)
        with explain_disk_errors(self._out_dir):
            folder = tempfile.mkdtemp(prefix=f"{PARTIAL_PREFIX}{self._name}-", dir=self._out_dir)
        self._folder = Path(folder)
        self._writer = mindrecord.FileWriter(f"{folder}/{self._name}", shard_num=1)
        self._writer.add_schema(dict(SCHEMA), "SSD")
        self._writer.add_index(["image_id"])
        _skip_repeated_work(self._writer)
        self._writer.set_page_size(self._page_bytes)
        self._writer.set_header_size(self._header_bytes)

    def _check_owner(self) -> None:
        """Never overwrite a file of another program, which may well have this name."""
        path = self._out_dir / self._name
        try:
            is_own = not path.exists() or read_header(path).is_own
        except DataError:
            is_own = False
        if not is_own:
            raise OwnershipError(
                f"{path} already exists and was not written by this converter; choose another --out"
            )


def _skip_repeated_work(writer: Any) -> None:
    """Halve the time that a FileWriter of MindSpore 2.9 takes.

    For every row it requests the schema from its library eleven times, validates the row, and
    copies the image once per following column. Our rows are valid, and `finish` counts them.
    """
    meta = writer._header._get_meta()
    writer._header._get_meta = lambda: meta
    writer._verify_based_on_schema = lambda rows: None
    writer._writer._merge_blob = _merge


def _merge(fields: Mapping[str, Any]) -> bytes:
    """Concatenate bytes and arrays in their order, each preceded by its length."""
    parts = []
    for value in fields.values():
        part = value if isinstance(value, bytes) else value.tobytes()
        parts += [len(part).to_bytes(8, "big"), part]
    return b"".join(parts)


@contextmanager
def _explain_errors(out_dir: Path) -> Iterator[None]:
    """Turn write errors of MindSpore into errors that contain the remedy."""
    try:
        yield
    except RuntimeError as error:
        raise TransientError(
            f"{out_dir}: MindSpore cannot write there: {describe_error(error)}; free some space "
            "and repeat the command"
        ) from None


def _power_of_two(value: int, low: int, high: int) -> int:
    """Return the smallest power of two that is at least `value`, limited to low..high."""
    return min(max(1 << (value - 1).bit_length(), low), high)


class MindRecordRows:
    """The rows of a split, read by MindSpore: about a millisecond per row in random order."""

    def __init__(
        self, files: ShardFiles, shards: Sequence[Shard], limits: Limits | None = None
    ) -> None:
        """Open the files of a split; without `limits` only `samples` may be called."""
        self._mindspore = import_mindspore()
        self.shards = tuple(shards)
        self._files, self._limits = files, limits
        self._names = [shard.name for shard in shards if shard.rows]
        self._lock = threading.Lock()

    def read(self, indices: Iterable[int]) -> Iterator[Record]:
        """Yield the records at `indices`; the files are verified before the first one.

        Files of MindSpore's SSD have no image sizes, so those come from the images, and their boxes
        are repaired as under policy `repair`.
        """
        for index, sample, image in self.samples(indices):
            if not (sample.width and sample.height):
                checked = check_sample(sample, image, _REPAIR, Findings(_REPAIR.policy))
                if checked is None:
                    raise DataError(f"{sample.place}: the image cannot be used")
                sample = checked
            self._check(sample)
            yield Record(
                index=index,
                image=image,
                **{name: getattr(sample, name) for name in _PLAIN_FIELDS},
            )

    def _check(self, sample: Sample) -> None:
        assert self._limits is not None
        counts = np.array([len(sample.annotations)])
        sizes = np.array([[sample.width, sample.height]])
        if fault := self._limits.find_fault(sample.annotations, counts, sizes):
            raise DataError(f"{sample.place} has {fault}; convert the data set again")

    def expect(self, numbers: Sequence[int]) -> None:
        """Fetch all files of a store in advance: MindSpore opens them together."""
        self._files.expect(self.shards)

    def samples(self, indices: Iterable[int]) -> Iterator[tuple[int, Sample, memoryview]]:
        """Yield the index, the sample as stored in the file, and the image."""
        for chunk in batched(map(int, indices), _ROWS_PER_PIPELINE):
            with ExitStack() as held:
                with self._lock:  # one thread verifies the files
                    folder = held.enter_context(self._files.gather(self.shards))
                paths = [folder / name for name in self._names]
                for index, row in zip(chunk, self._read_rows(paths, chunk), strict=True):
                    yield index, *read_row(row, f"{self._first_file} row {index}")

    @property
    def _first_file(self) -> Location:
        return self._files.location / self._names[0]

    def _read_rows(self, paths: Sequence[Path], indices: Sequence[int]) -> Iterator[Any]:
        dataset = self._mindspore.dataset
        try:
            rows = dataset.MindDataset(
                [str(path) for path in paths],
                columns_list=columns_to_read(read_header(paths[0])),
                num_parallel_workers=1,
                sampler=dataset.SubsetSampler(indices),
            )
            yield from rows.create_dict_iterator(num_epochs=1, output_numpy=True)
        except RuntimeError as error:
            raise DataError(f"{self._first_file}: {describe_error(error)}") from None
