"""The benchmarks run, their checks find equal results, and the tables show the kept figures."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import FailedError, check_drift
from benchmarks.figures import Figure, make_tables, read_figures
from benchmarks.machine import is_throttled
from benchmarks.rows import ROWS
from benchmarks.speedrun import KEPT, describe

ROOT = Path(__file__).parents[1]
SCRIPTS = {
    "convert_arrow": 200,
    "convert_decode_check": 200,
    "coco_json": 20,  # of a file as large as COCO's
    "augment": 200,
    "loader": 200,
    "matching": 200,
    "postprocessing": 200,
    "reading": 200,
}
"""Images of each."""


@pytest.fixture(scope="module")
def work_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that keeps the generated images for all scripts."""
    return tmp_path_factory.mktemp("benchmarks")


def run(module: str, *words: str, root: Path = ROOT) -> "subprocess.CompletedProcess[str]":
    """Run a script of the benchmarks below `root`."""
    command = [sys.executable, "-W", "error", "-m", module, *words]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", SCRIPTS)
def test_quick_run(name: str, work_dir: Path) -> None:
    size = ("--images", str(SCRIPTS[name]), "--rounds", "1", "--work", str(work_dir))
    done = run(f"benchmarks.{name}", *size, "--json")
    assert done.returncode == 0, done.stderr
    measured = [row for line in done.stdout.splitlines() for row in json.loads(line)]
    assert measured == [row for row in ROWS if ROWS[row].script == name]


def test_one_script_of_the_table(work_dir: Path) -> None:
    done = run("benchmarks", "--images", "2", "--work", str(work_dir), "scale")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 2 + 6  # header, growth of five steps, and the memory


def test_the_simulation_of_many_nodes() -> None:
    done = run("benchmarks.readers", "--images", "2")
    assert done.returncode == 0, done.stderr
    assert "per byte used" in done.stdout


def test_the_tables_show_the_kept_figures() -> None:
    for page, text in make_tables(read_figures()).items():
        assert page.read_text() == text, "run `python -m benchmarks.figures`"


def test_the_page_shows_the_kept_speedruns() -> None:
    lines = map(json.loads, KEPT.read_text().splitlines())
    assert "\n".join(describe([*lines])) in (ROOT / "docs/performance.md").read_text()


def make_figure(value: float, rounds: int = 3) -> Figure:
    spread = {"lowest": value - 0.05, "highest": value + 0.05}
    facts = {"date": "2026-11-30", "commit": "0123abc", "machine": "a processor"}
    return Figure(value=value, images=1, rounds=rounds, **spread, **facts)


def test_a_figure_that_has_drifted_is_refused() -> None:
    check_drift("startup", make_figure(0.5), make_figure(0.54))
    for measured in (0.44, 0.56):
        with pytest.raises(FailedError, match=r"startup: 0\.\d+, but .* states 0.45 to 0.55"):
            check_drift("startup", make_figure(0.5), make_figure(measured))


def test_a_figure_of_one_round_stays_on_its_side_of_the_target() -> None:
    target = ROWS["demo"].target
    assert target is not None
    met, missed = make_figure(target - 1, rounds=1), make_figure(target + 1, rounds=1)
    check_drift("demo", met, make_figure(target))
    check_drift("demo", missed, make_figure(target + 9))
    for stated, measured in ((met, missed), (missed, met)):
        with pytest.raises(FailedError, match="demo: "):
            check_drift("demo", stated, measured)


def test_a_clock_that_changes_is_found() -> None:
    assert not is_throttled(1, 1.05)
    assert is_throttled(1, 1.2)
    assert is_throttled(1.2, 1)


@pytest.mark.parametrize("option", ["--verify", "--record"])
def test_figures_need_a_commit_that_they_belong_to(option: str, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "benchmarks", tmp_path / "benchmarks")
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    done = run("benchmarks", option, "startup", root=tmp_path)
    assert done.returncode == 1
    assert "files differ from the commit" in done.stderr
    assert not done.stdout


def test_the_measurements_of_a_gpu_run_anywhere(work_dir: Path) -> None:
    done = run("benchmarks.gpu", "--tiny", "--work", str(work_dir))
    assert done.returncode == 0, done.stderr
    for work in ("training from synthetic batches", "training from the loader", "detection"):
        assert f"{work}, batch" in done.stdout


def test_a_speedrun_adds_the_seeds_that_its_commit_lacks(tmp_path: Path) -> None:
    keep = tmp_path / "lines.jsonl"
    old = {"commit": "0123abc", "seed": 1, "ap": 0.5, "ap50": 0.9, "cpu": 60.0, "wall": 30.0}
    keep.write_text(json.dumps(old) + "\n")
    short = ("--set", "train.steps=1", "--set", "train.model.image_size=64")
    done = run("benchmarks.speedrun", "--seeds", "1", *short, "--keep", str(keep))
    assert done.returncode == 0, done.stderr
    first, second = map(json.loads, keep.read_text().splitlines())
    assert (first, second["seed"]) == (old, 1)
    assert second["cpu"] > 0
    assert second["commit"].endswith("train.steps=1 train.model.image_size=64")
    assert done.stdout.splitlines()[2].startswith("| 0123abc | 1 of 1 | 0.900 | 0.500 | 60 |")
    repeated = run("benchmarks.speedrun", "--seeds", "1", *short, "--keep", str(keep))
    assert (repeated.stdout, len(keep.read_text().splitlines())) == (done.stdout, 2)
