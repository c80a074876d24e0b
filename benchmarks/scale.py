"""Every step over a data set of the size of COCO and over a tenth of it: time, memory and growth.

The data set has 120 training images per `--images`, with seven objects each, and 5 evaluation
images, with 100 detections each; it is made and deleted here. Each step is a process of its own,
which counts the CPU time of all its threads, and the peak of its memory with interpreter and
libraries. `--rounds` has no effect.
"""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.coco_folder import make_coco_folder
from benchmarks.interleaved import format_seconds
from benchmarks.script import Measurement, Size, main
from ssd_core.store import LocalDirectory

_IMAGES = 125
"""Per unit of the size: at the default of 1,000 as many as in COCO."""
_DETECTIONS = 100
_DETECTIONS_FILE = "detections.json"
_PROGRAM = """
import json, sys
from benchmarks import scale
print(json.dumps(scale.run_step(*sys.argv[1:])))
"""

Work = Callable[[], object]


class Cost(NamedTuple):
    """Of one step."""

    seconds: float
    """CPU time of all threads."""
    megabytes: float
    """Peak."""

    def __str__(self) -> str:
        return f"{format_seconds(self.seconds)} and {self.megabytes:.0f} MB"


def measure(size: Size) -> Iterator[Measurement]:
    """Yield the growth of each step, and the memory of a conversion."""
    counts = [_IMAGES * size.images // 10, _IMAGES * size.images]
    few, many = (measure_steps(size.work_dir, count) for count in counts)
    for step in STEPS:
        growth = many[step].seconds / few[step].seconds
        yield Measurement(f"scale-{step}", [growth], str(many[step]), str(few[step]))
    peaks = [cost["convert"].megabytes for cost in (few, many)]
    yield Measurement("scale-memory", [(peaks[1] - peaks[0]) * 1e3 / (counts[1] - counts[0])])


def measure_steps(work_dir: Path, images: int) -> dict[str, Cost]:
    """Return the cost of each step over a data set of so many images."""
    own_dir = work_dir / "scale"
    shutil.rmtree(own_dir, ignore_errors=True)  # of a killed run
    folder = make_coco_folder(own_dir, images)
    _write_detections(folder)
    costs = {}
    for step in STEPS:
        command = [sys.executable, "-c", _PROGRAM, step, str(folder)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        costs[step] = Cost(*json.loads(done.stdout.splitlines()[-1]))
    shutil.rmtree(own_dir)  # two gigabytes
    return costs


def run_step(name: str, folder: str) -> Cost:
    """Run a step in this process and return its cost."""
    from ssd_core.process.memory import read_peak_memory

    work = STEPS[name](Path(folder))
    started = time.process_time()
    work()
    seconds = time.process_time() - started
    return Cost(seconds, (read_peak_memory() or 0) / 1e6)


def _beside(folder: Path, name: str) -> LocalDirectory:
    return LocalDirectory(folder.with_name(name))


def _check(folder: Path) -> Work:
    from ssd_core.config import ConvertConfig
    from ssd_core.stages import check

    return lambda: check.run(ConvertConfig(), str(folder))


def _convert(folder: Path) -> Work:
    from ssd_core.config import ConvertConfig
    from ssd_core.stages import convert

    return lambda: convert.run(ConvertConfig(), str(folder), _beside(folder, "shards"))


def _verify(folder: Path) -> Work:
    from ssd_core.stages import verify

    return lambda: list(verify.run(_beside(folder, "shards")))


def _read_epoch(folder: Path) -> Work:
    from ssd_core.data.batches.order import SampleOrder
    from ssd_core.data.shards.reader import open_split

    def read() -> None:
        reader = open_split(_beside(folder, "shards"), "train")
        order = SampleOrder(reader.shard_rows, seed=1)
        for first in range(0, order.num_samples, 32):
            positions = range(first, min(first + 32, order.num_samples))
            reader.expect(order.shards_of(positions))
            for record in reader.read([order.at(position)[1] for position in positions]):
                bytes(record.image)

    return read


def _evaluate(folder: Path) -> Work:
    from ssd_core.config import EvaluateConfig
    from ssd_core.stages import evaluate

    files = (_beside(folder, _DETECTIONS_FILE), LocalDirectory(folder / "annotations/val.json"))
    out_dir = _beside(folder, "evaluation")
    return lambda: evaluate.run_files(EvaluateConfig(), *files, out_dir)


STEPS: dict[str, Callable[[Path], Work]] = {
    "check": _check,
    "convert": _convert,
    "verify": _verify,
    "epoch": _read_epoch,
    "evaluate": _evaluate,
}
"""Each imports its own modules and returns the work to measure."""


def _write_detections(folder: Path) -> None:
    """Write detections of every evaluation image: its objects, a little displaced, and others."""
    truth = json.loads((folder / "annotations" / "val.json").read_text())
    rng = np.random.default_rng(0)
    objects: dict[int, list[tuple[list[float], int]]] = {}
    for item in truth["annotations"]:
        objects.setdefault(item["image_id"], []).append((item["bbox"], item["category_id"]))
    rows = []
    for image in truth["images"]:
        own = objects.get(image["id"], [])[:_DETECTIONS]
        boxes = rng.uniform(4, 240, (_DETECTIONS, 4))
        categories = rng.integers(1, len(truth["categories"]) + 1, _DETECTIONS)
        for number, (box, category) in enumerate(own):
            boxes[number], categories[number] = np.array(box) * rng.uniform(0.9, 1.1, 4), category
        scores = rng.uniform(0.01, 1, _DETECTIONS)
        columns = (boxes.round(2).tolist(), categories.tolist(), scores.tolist())
        rows += [
            {"image_id": image["id"], "bbox": box, "category_id": category, "score": score}
            for box, category, score in zip(*columns, strict=True)
        ]
    folder.with_name(_DETECTIONS_FILE).write_text(json.dumps(rows))


if __name__ == "__main__":
    main(measure)
