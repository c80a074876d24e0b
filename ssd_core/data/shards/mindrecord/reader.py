"""Read MindRecord shards at random, with MindSpore."""

import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ssd_core.data.ahead import batched
from ssd_core.data.checking.samples import check_sample
from ssd_core.data.findings import Findings
from ssd_core.data.shards.files import ShardFiles
from ssd_core.data.shards.manifest import Shard
from ssd_core.data.shards.mindrecord.format import columns_to_read, read_header, read_row
from ssd_core.data.shards.mindrecord.writer import describe_error, import_mindspore
from ssd_core.errors import DataError
from ssd_core.store import Location
from ssd_core.structures import Record, Sample

_ROWS_PER_PIPELINE = 64
_ANY_SIZE = 2**62
_PLAIN_FIELDS = ("image_id", "image_path", "width", "height", "annotations")


class MindRecordRows:
    """The rows of a split, read by MindSpore: about a millisecond per row in random order."""

    def __init__(self, files: ShardFiles, shards: Sequence[Shard]) -> None:
        self._mindspore = import_mindspore()
        self.shards = tuple(shards)
        self._files = files
        self._names = [shard.name for shard in shards if shard.rows]
        self._lock = threading.Lock()

    def read(self, indices: Iterable[int]) -> Iterator[Record]:
        """Yield the records at `indices`; the files are verified before the first one.

        Files of MindSpore's SSD have no image sizes, so those come from the images, and their boxes
        are repaired as under policy `repair`.
        """
        for index, sample, image in self.samples(indices):
            if not (sample.width and sample.height):
                checked = check_sample(sample, image, Findings("repair"), max_pixels=_ANY_SIZE)
                if checked is None:
                    raise DataError(f"{sample.place}: the image cannot be used")
                sample = checked
            yield Record(
                index=index,
                image=image,
                **{name: getattr(sample, name) for name in _PLAIN_FIELDS},
            )

    def expect(self, numbers: Sequence[int]) -> None:
        """Fetch all files of a store in advance: MindSpore opens them together."""
        self._files.expect(self.shards)

    def samples(self, indices: Iterable[int]) -> Iterator[tuple[int, Sample, memoryview]]:
        """Yield the index, the sample as stored in the file, and the image."""
        for chunk in batched(map(int, indices), _ROWS_PER_PIPELINE):
            with self._lock:
                folder = self._files.gather(self.shards)
            paths = [folder / name for name in self._names]
            for index, row in zip(chunk, self._read_rows(paths, chunk), strict=True):
                yield index, *read_row(row, index, f"{self._first_file} row {index}")

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
