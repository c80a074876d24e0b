"""The benchmarks run, and their checks find equal results."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = (
    "convert_arrow",
    "convert_decode_check",
    "coco_json",
    "augment",
    "loader",
    "matching",
    "postprocessing",
    "reading",
)


@pytest.fixture(scope="module")
def work_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that keeps the generated images for all scripts."""
    return tmp_path_factory.mktemp("benchmarks")


@pytest.mark.parametrize("name", SCRIPTS)
def test_quick_run(name: str, work_dir: Path) -> None:
    size = ("--images", "200", "--rounds", "1", "--work", str(work_dir))
    command = [sys.executable, "-W", "error", "-m", f"benchmarks.{name}", *size]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "time)" in done.stdout


@pytest.mark.parametrize(
    ("name", "unit"), [("scale", "x that of 25"), ("readers", "per byte used")]
)
def test_a_measurement_without_a_peer(name: str, unit: str, work_dir: Path) -> None:
    command = [sys.executable, "-W", "error", "-m", f"benchmarks.{name}", "--images", "2"]
    done = subprocess.run(
        [*command, "--work", str(work_dir)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert unit in done.stdout


def test_the_measurements_of_a_gpu_run_anywhere(work_dir: Path) -> None:
    command = [sys.executable, "-W", "error", "-m", "benchmarks.gpu", "--tiny"]
    done = subprocess.run(
        [*command, "--work", str(work_dir)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for work in ("training from synthetic batches", "training from the loader", "detection"):
        assert f"{work}, batch" in done.stdout
