"""Read every image of an epoch in training order, without decoding; the peer calls `pread`.

Both touch every page of each image, which is in the page cache. The peer has all images in one
file, with a list of their starts, and reads into one buffer; ours also returns the objects.
"""

from collections.abc import Iterable, Iterator

import numpy as np

from benchmarks.images import make_images
from benchmarks.interleaved import compare
from benchmarks.packed_file import pack_files, read_packed
from benchmarks.script import Measurement, Size, main, ratio
from ssd_core.config import ConvertConfig
from ssd_core.data.batches.order import SampleOrder
from ssd_core.data.shards.reader import open_split
from ssd_core.stages import convert
from ssd_core.store import LocalDirectory

_PAGE = 4096


def measure(size: Size) -> Iterator[Measurement]:
    """Yield a single row."""
    source = make_images(size.work_dir, size.images)
    shards, packed = size.work_dir / f"shards-{size.images}", size.work_dir / "packed"
    convert.run(ConvertConfig(), str(source), LocalDirectory(shards))
    reader = open_split(LocalDirectory(shards), "train")
    records = reader.read(range(reader.num_images))
    starts = pack_files([source / record.image_path for record in records], packed)
    order = SampleOrder(reader.shard_rows, seed=1)
    indices = [order.at(position)[1] for position in range(reader.num_images)]
    space = bytearray(max(np.diff(starts)))
    yield ratio(
        "reading",
        compare(
            lambda: touch(record.image for record in reader.read(indices)),
            lambda: touch(read_packed(packed, starts, indices, space)),
            check=check,
            rounds=size.rounds,
        ),
    )


def touch(images: Iterable[memoryview]) -> list[bytes]:
    """Return one byte per page of each image."""
    return [image[::_PAGE].tobytes() for image in images]


def check(ours: list[bytes], peer: list[bytes]) -> None:
    """Compare these bytes."""
    assert ours == peer


if __name__ == "__main__":
    main(measure)
