"""The training pipeline on this machine with MindSpore."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
QUICK = (
    "convert.shards=mindrecord",
    "train.steps=2",
    "train.batch_size=2",
    "benchmark.seconds=0.1",
    "benchmark.batch_sizes=[1]",
)


@pytest.mark.mindspore
def test_the_pipeline_ends_with_a_report_of_its_figures(few_images: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pipelines", "run", "training", "--framework", "mindspore"]
    command += ["--recipe", "demo", "--dataset", str(few_images), "--root", str(tmp_path)]
    command += [word for change in QUICK for word in ("--set", change)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^next: .*ssd predict .* --framework mindspore$", done.stdout, re.MULTILINE)
    (run_dir,) = tmp_path.glob("runs/*")
    assert "[ERROR]" not in (run_dir / "local" / "log.txt").read_text()
    measured = json.loads((run_dir / "benchmark" / "results.json").read_text())
    speed = f"{measured['metrics']['images_per_second']:.1f}"
    assert re.match(rf"AP \S+ · AP50 \S+ · {speed} images/s", done.stdout.splitlines()[-1])
    assert list(tmp_path.glob("datasets/*/ssd.mindrecord0"))
    page = (run_dir / "report" / "report.html").read_text()
    assert "mindspore 2.9.0" in page
    assert speed in page
