"""Peak memory of a conversion in a process of its own, including interpreter and libraries."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.coco_folder import make_coco_folder
from benchmarks.row import Row, Size, main

_IMAGES_OF_COCO = 126_000
_FEW, _MANY = 2_000, 20_000

_PROGRAM = """
import sys
from pathlib import Path
from ssd_core.config import ConvertConfig
from ssd_core.stages import convert
from ssd_core.store import Location
convert.run(ConvertConfig(), sys.argv[1], Location.parse(sys.argv[2]))
status = Path("/proc/self/status").read_text().split()
print(status[status.index("VmHWM:") + 1])
"""


def measure(size: Size) -> Iterator[Row]:
    """Yield memory per image, and memory for a data set as large as COCO; the sizes are fixed."""
    few, many = (peak_megabytes(size.work_dir, images) for images in (_FEW, _MANY))
    yield Row(
        work=f"memory per additional image, from {_FEW} to {_MANY}",
        value=(many - few) * 1e3 / (_MANY - _FEW),
        unit="KB per image",
        target=1,
        detail=f"peaks {few:.0f} and {many:.0f} MB",
    )
    peak = peak_megabytes(size.work_dir, _IMAGES_OF_COCO)
    folder = make_coco_folder(size.work_dir, _IMAGES_OF_COCO)
    num_bytes = sum(path.stat().st_size for path in (folder / "annotations").iterdir())
    shutil.rmtree(folder)  # a gigabyte
    yield Row(
        work="memory to convert a data set as large as COCO",
        value=peak,
        unit="MB",
        target=1000,
        detail=f"{num_bytes / 1e6:.0f} MB of annotations, {_IMAGES_OF_COCO} images",
    )


def peak_megabytes(work_dir: Path, images: int) -> float:
    """Return the peak resident memory of a conversion."""
    source = make_coco_folder(work_dir, images)
    shards = work_dir / "shards"
    shutil.rmtree(shards, ignore_errors=True)
    command = [sys.executable, "-c", _PROGRAM, str(source), str(shards)]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return int(printed) * 1024 / 1e6


if __name__ == "__main__":
    main(measure)
