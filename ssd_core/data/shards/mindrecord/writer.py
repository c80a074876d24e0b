"""Write MindRecord shards with MindSpore.

No other module imports MindSpore's data packages, and this one only when it has to.
"""

import importlib.util
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ssd_core.config import SplitName
from ssd_core.data.shards.files import check_unchanged
from ssd_core.data.shards.manifest import Shard
from ssd_core.data.shards.mindrecord.format import (
    FILE_NAMES,
    SCHEMA,
    count_rows,
    describe_files,
    make_row,
    read_header,
)
from ssd_core.data.sources.base import Source
from ssd_core.errors import DataError, OwnershipError, SurroundingsError, UsageError
from ssd_core.store.local import commit_file, explain_disk_errors, flush, make_directory
from ssd_core.store.location import PARTIAL_PREFIX
from ssd_core.structures import Sample

_ROWS_PER_CALL = 200
_BYTES_PER_CALL = 64 * 2**20
_OBJECT_BYTES = 2 * 2**20
"""Left in a page for everything but the image."""
_MIN_PAGE_BYTES, _MAX_PAGE_BYTES = 4 * 2**20, 256 * 2**20
_MIN_HEADER_BYTES, _MAX_HEADER_BYTES = 2**17, 128 * 2**20
_HEADER_BYTES_PER_PAGE = 1024
"""Four times what a page takes in the header."""


def require_mindspore() -> None:
    """Say early that MindSpore is missing; importing it takes seconds.

    Raises:
        UsageError: it is not installed here.
    """
    if importlib.util.find_spec("mindspore") is None:
        raise UsageError(
            "MindRecord files need MindSpore, which is not installed here; 'make setup-mindspore' "
            "makes .venv-mindspore with it, or convert with --shards arrow"
        )


def import_mindspore() -> Any:
    """Return the package `mindspore` with what reads and writes MindRecord files.

    Raises:
        UsageError: it is not installed here.
    """
    require_mindspore()
    import mindspore
    import mindspore.dataset
    import mindspore.mindrecord

    return mindspore


def describe_error(error: RuntimeError) -> str:
    """Return the line of a message of MindSpore that says what is wrong."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    marked = [line.removeprefix("[ERROR] ") for line in lines if line.startswith("[ERROR] ")]
    return (marked or lines or ["unknown error"])[0]


class MindRecordWriter:
    """Packs a split into one MindRecord file with its index; use as a context manager.

    One file, because MindSpore divides rows over several at random. It is written in a folder of
    its own and moved when it is complete.
    """

    def __init__(
        self,
        out_dir: Path,
        split: SplitName,
        index: int,
        *,
        expected: Mapping[str, Shard],
        sizes: Sequence[int],
    ) -> None:
        """Prepare the file of a split; see `pack_part.WriterFactory`."""
        assert index == 0, "a split is one part"
        self._out_dir, self._name, self._expected = out_dir, FILE_NAMES[split], expected
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
        """Read an image; the view is valid until the next call.

        Raises:
            DataError: the image is missing, cannot be read, or does not fit into a page.
        """
        size, limit = source.files[name].num_bytes, _MAX_PAGE_BYTES - _OBJECT_BYTES
        if size > limit:
            raise DataError(f"{name} has {size} bytes, MindRecord takes images of up to {limit}")
        self._image = source.read(name)
        return memoryview(self._image)

    def append(self, sample: Sample) -> None:
        """Take the sample whose image was loaded last."""
        self._pending.append(make_row(sample, self._image))
        self._pending_bytes += len(self._image)
        if len(self._pending) >= _ROWS_PER_CALL or self._pending_bytes >= _BYTES_PER_CALL:
            self._write_pending()

    def finish(self) -> tuple[Shard, ...]:
        """Give the file and its index their final place and return them; none without rows.

        Raises:
            OwnershipError: the directory already holds this file with another content.
            SurroundingsError: the disk is full.
        """
        self._write_pending()
        if self._folder is None:
            return ()
        with _explain_errors(self._out_dir):
            self._writer.commit()
        path = self._folder / self._name
        if count_rows(path) != self._num_rows:
            raise SurroundingsError(f"{path}: MindSpore lost rows; is the disk full?")
        with ThreadPoolExecutor(1) as pool:  # hashing and waiting for the disk, side by side
            flushed = pool.submit(flush, path)
            shards = describe_files(self._folder, [self._name])
            with explain_disk_errors(self._out_dir):
                flushed.result()
        check_unchanged(self._out_dir, shards, self._expected)
        with explain_disk_errors(self._out_dir):
            for shard in shards:
                commit_file(self._folder / shard.name, self._out_dir / shard.name)
        return shards

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
        self._refuse_others()
        make_directory(self._out_dir)
        with explain_disk_errors(self._out_dir):
            folder = tempfile.mkdtemp(prefix=f"{PARTIAL_PREFIX}{self._name}-", dir=self._out_dir)
        self._folder = Path(folder)
        self._writer = mindrecord.FileWriter(f"{folder}/{self._name}", shard_num=1)
        self._writer.add_schema(dict(SCHEMA), "SSD")
        self._writer.add_index(["image_id"])
        _make_quick(self._writer)
        self._writer.set_page_size(self._page_bytes)
        self._writer.set_header_size(self._header_bytes)

    def _refuse_others(self) -> None:
        """Keep the files of another program, which may well have these names."""
        path = self._out_dir / self._name
        try:
            is_own = not path.exists() or read_header(path).is_own
        except DataError:
            is_own = False
        if not is_own:
            raise OwnershipError(
                f"{path} is there already, and not from this converter; choose another --out"
            )


def _make_quick(writer: Any) -> None:
    """Spare a FileWriter of MindSpore 2.9 half of its time.

    For every row it asks its library eleven times for the schema, compares the row with it, and
    copies the image again for each column behind it. Our rows fit, and `finish` counts them.
    """
    meta = writer._header._get_meta()
    writer._header._get_meta = lambda: meta
    writer._verify_based_on_schema = lambda rows: None
    writer._writer._merge_blob = _merge


def _merge(fields: Mapping[str, Any]) -> bytes:
    """Join bytes and arrays in their order, the length of each in front of it."""
    parts = []
    for value in fields.values():
        part = value if isinstance(value, bytes) else value.tobytes()
        parts += [len(part).to_bytes(8, "big"), part]
    return b"".join(parts)


@contextmanager
def _explain_errors(out_dir: Path) -> Iterator[None]:
    """Turn errors of MindSpore while it writes into errors that say what to do."""
    try:
        yield
    except RuntimeError as error:
        raise SurroundingsError(
            f"{out_dir}: MindSpore cannot write there: {describe_error(error)}; free some space "
            "and repeat the command"
        ) from None


def _power_of_two(value: int, low: int, high: int) -> int:
    """Return the smallest power of two that is not below `value`, within low and high."""
    return min(max(1 << (value - 1).bit_length(), low), high)
