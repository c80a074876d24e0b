"""Time and memory of a report about many images, in a process of its own."""

import io
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.script import Measurement, Size, main
from ssd_core.config import ConvertConfig, EvaluateConfig
from ssd_core.data.shards.reader import open_split
from ssd_core.evaluation.accuracy import measure_accuracy
from ssd_core.evaluation.detections_file import DETECTIONS_FILE, write_detections
from ssd_core.evaluation.files import GROUND_TRUTH_FILE, format_ground_truth
from ssd_core.evaluation.run import EvaluatedImage
from ssd_core.stages import convert
from ssd_core.stages.frame import Input, Invocation, Results, run_stage
from ssd_core.store import LocalDirectory
from ssd_core.store.local import write_file
from ssd_core.structures import Detections, Record

_SIDE = 256
_NUM_CLASSES = 80
_OBJECTS, _DETECTIONS = 7, 100
"""Per image, as in COCO."""

_PROGRAM = """
import sys
from pathlib import Path
from ssd_core.config import ReportConfig
from ssd_core.stages import report
from ssd_core.store import Location
evaluation, out = map(Location.parse, sys.argv[1:])
report.run(ReportConfig(), [evaluation], out)
status = Path("/proc/self/status").read_text().split()
print(status[status.index("VmHWM:") + 1])
"""


def measure(size: Size) -> Iterator[Measurement]:
    """Yield time and memory; five times the images, as many as COCO evaluates."""
    images = 5 * size.images
    evaluation = make_evaluation(size.work_dir, images)
    command = [sys.executable, "-c", _PROGRAM, str(evaluation), str(size.work_dir / "report")]
    seconds, kilobytes = [], []
    for _ in range(size.rounds):
        begun = time.perf_counter()
        printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        seconds.append(time.perf_counter() - begun)
        kilobytes.append(int(printed))
    yield Measurement("report-time", seconds)
    yield Measurement("report-memory", [each * 1024 / 1e6 for each in kilobytes])


def make_evaluation(work_dir: Path, images: int) -> Path:
    """Return the output of an evaluation whose detections were drawn at random."""
    folder = work_dir / f"evaluation-{images}"
    data = LocalDirectory(work_dir / f"evaluated-{images}")
    if folder.exists():
        return folder
    convert.run(ConvertConfig(), str(_make_source(work_dir, images)), data)
    reader = open_split(data, "val")
    evaluated = [_find(row, record) for row, record in enumerate(reader.read_in_order())]
    invocation = Invocation(
        stage="evaluate",
        config=EvaluateConfig(),
        inputs={
            "model": Input("random", "0" * 64),
            "dataset": Input(data.uri, reader.manifest.digest),
        },
    )

    def work(out_dir: Path) -> Results:
        found = ((image.image_id, image.found) for image in evaluated)
        write_detections(out_dir / DETECTIONS_FILE, found, reader.classes)
        write_file(out_dir / GROUND_TRUTH_FILE, format_ground_truth(evaluated, reader.classes))
        return measure_accuracy(evaluated, reader.classes, EvaluateConfig()) | {
            "image_set": "all",
            "skipped_images": 0,
            "model": {"recipe": "random", "step": 0, "training_id": "random"},
            "data": {"name": "generated", "split": "val"},
            "environment": {"device_name": "none", "precision": "fp32"},
        }

    run_stage(invocation, LocalDirectory(folder), work, is_measurement=True)
    return folder


def _make_source(work_dir: Path, images: int) -> Path:
    """Return a TXT data set of small images, whose first one is the training split."""
    folder = work_dir / f"source-{images}"
    folder.mkdir(parents=True, exist_ok=True)
    rng, lines = np.random.default_rng(0), []
    for number in range(images + 1):
        coarse = Image.fromarray(rng.integers(0, 255, (8, 8, 3), np.uint8))
        content = io.BytesIO()
        coarse.resize((_SIDE, _SIDE)).save(content, "JPEG")
        (folder / f"{number}.jpg").write_bytes(content.getvalue())
        corners = rng.integers(0, _SIDE // 2, (_OBJECTS, 2))
        boxes = np.hstack([corners, corners + rng.integers(8, _SIDE // 2, (_OBJECTS, 2))])
        rows = np.hstack([boxes, rng.integers(1, _NUM_CLASSES + 1, (_OBJECTS, 1))])
        lines.append(" ".join([f"{number}.jpg", *(",".join(map(str, row)) for row in rows)]))
    (folder / "train.txt").write_text(lines[0])
    (folder / "val.txt").write_text("\n".join(lines[1:]))
    return folder


def _find(row: int, record: Record) -> EvaluatedImage:
    """Return an image with detections near its objects, some of the right class."""
    rng, truth = np.random.default_rng((1, row)), record.annotations
    near = rng.integers(len(truth), size=_DETECTIONS)
    shifts = rng.normal(0, 12, (_DETECTIONS, 2)).astype(np.float32)
    is_right = rng.random(_DETECTIONS) < 0.5
    guesses = rng.integers(1, _NUM_CLASSES + 1, _DETECTIONS)
    found = Detections(
        boxes=truth.boxes[near] + np.tile(shifts, 2),
        scores=np.sort(rng.random(_DETECTIONS))[::-1].astype(np.float32),
        labels=np.where(is_right, truth.labels[near], guesses),
    )
    return EvaluatedImage(row, record.image_id, truth, found, record.image_path)


if __name__ == "__main__":
    main(measure)
