"""Convert a COCO data set to Arrow shards in one process; the peer only copies and hashes it.

Ours also reads the annotations, checks image headers and boxes, and writes boxes, labels and a
manifest. The peer appends all files to one and hashes them. Both end with fsync.
"""

import shutil
from collections.abc import Iterator

from benchmarks.images import make_images
from benchmarks.interleaved import compare
from benchmarks.packed_file import hash_files, hash_shards, pack_files
from benchmarks.script import Measurement, Size, main, ratio
from ssd_core.config import ConvertConfig
from ssd_core.stages import convert
from ssd_core.store import LocalDirectory


def measure(size: Size) -> Iterator[Measurement]:
    """Yield one row per clock: CPU time is the work, wall time includes waiting for the disk."""
    source = make_images(size.work_dir, size.images)
    shards, packed = size.work_dir / "shards", size.work_dir / "packed"

    def convert_anew() -> None:
        shutil.rmtree(shards, ignore_errors=True)
        convert.run(ConvertConfig(), str(source), LocalDirectory(shards))

    def pack_anew() -> list[int]:
        packed.unlink(missing_ok=True)
        return pack_files(sorted((source / "images").iterdir()), packed)

    def check(_: None, starts: list[int]) -> None:
        files = hash_files(source)
        assert hash_shards(shards) == files
        assert len(starts) == len(files) + 1
        assert packed.stat().st_size == starts[-1]

    comparison = compare(convert_anew, pack_anew, check=check, rounds=size.rounds)
    yield ratio("convert-arrow", comparison)
    yield ratio("convert-arrow-cpu", comparison)


if __name__ == "__main__":
    main(measure)
