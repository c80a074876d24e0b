"""The training pipeline of `make demo`, from images to the report; one round is enough."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

from benchmarks.figures import ROOT
from benchmarks.script import Measurement, Size, main

_COMMAND = "-m pipelines run training --recipe demo --dataset examples/bccd --root"


def measure(size: Size) -> Iterator[Measurement]:
    """Yield the elapsed time in minutes."""
    minutes = []
    for _ in range(size.rounds):
        size.work_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=size.work_dir) as folder:
            begun = time.perf_counter()
            command = [sys.executable, *_COMMAND.split(), folder]
            subprocess.run(command, cwd=ROOT, check=True, stdout=sys.stderr)
            minutes.append((time.perf_counter() - begun) / 60)
    yield Measurement("demo", minutes)


if __name__ == "__main__":
    main(measure)
