"""The pipelines on this machine, with real processes, signals and images."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from pipelines.results import format_figures
from ssd_core.metrics import summarize
from tests.pipelines.conftest import STEPS, Command
from tests.processes import descendants, wait_until_gone

ROOT = Path(__file__).parents[3]
DEMO = f"training --recipe demo --dataset {ROOT}/examples/bccd"
SPEED = "benchmark --model x --series a"
HEADLINE = re.compile(r"(AP \S+ · AP50 \S+ · .+ images/s · latency .+ ms) · report (.+\.html)")
QUICK = (
    "train.model.image_size=64",
    "train.batch_size=2",
    "train.steps=30",
    "train.checkpoint_interval=2",
    "benchmark.seconds=0.1",
    "benchmark.batch_sizes=[1]",
)


def command(dataset: Path, root: Path, *changes: str) -> list[str]:
    words = ["training", "--recipe", "demo", "--dataset", str(dataset), "--root", str(root)]
    for change in (*QUICK, *changes):
        words += ["--set", change]
    return [sys.executable, "-m", "pipelines", "run", *words]


def run(words: list[str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)


@contextmanager
def started(words: list[str], root: Path) -> "Iterator[subprocess.Popen[str]]":
    """Start a run and go on when its training has written a checkpoint."""
    with subprocess.Popen(
        words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        while not list(root.glob("training/*/checkpoints/step-*/checkpoint.json")):
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        yield process
        process.kill()


def read_logs(root: Path) -> list[str]:
    """Return the logs of the runs under a root, oldest first."""
    return [path.read_text() for path in sorted(root.glob("runs/*/local/log.txt"))]


@pytest.fixture(scope="module")
def root(few_images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root in which a run was killed in the middle of its training."""
    root = tmp_path_factory.mktemp("run") / "a python3 'root'"
    with started(command(few_images, root), root) as process:
        below = descendants(process.pid)
        process.kill()
    assert len(below) >= 2
    wait_until_gone(*below)
    return root


@pytest.fixture(scope="module")
def lines(few_images: Path, root: Path) -> list[str]:
    """Output of the same command, repeated."""
    shards = {path: path.stat().st_mtime_ns for path in root.glob("datasets/*/*.arrow")}
    assert shards
    done = run(command(few_images, root))
    assert (done.returncode, done.stderr) == (0, "")
    assert shards == {path: path.stat().st_mtime_ns for path in root.glob("datasets/*/*.arrow")}
    return done.stdout.splitlines()


def test_killed_run_continues(root: Path, lines: list[str]) -> None:
    assert any(re.search(r"continuing after step \d+ of 30", line) for line in lines)
    (training,) = root.glob("training/*")
    events = [json.loads(line) for line in (training / "train_log.jsonl").read_text().splitlines()]
    assert events[-1]["step"] == 30
    assert len(read_logs(root)) == 2


def test_the_model_and_the_next_command_are_printed(root: Path, lines: list[str]) -> None:
    (model,) = root.glob("training/*/model")
    assert lines[-5] == f"model {model}"
    program, *words = shlex.split(lines[-4].removeprefix("next: "))
    assert Path(program).name == "ssd"
    assert words == ["predict", "--model", str(model), "IMAGES", "--out", "found"]
    done = run(shlex.split(lines[-3].removeprefix("figures: ")))
    assert done.returncode == 0, done.stderr
    assert lines[-1].startswith(done.stdout.splitlines()[-1])


def test_last_line_has_the_measured_metrics(lines: list[str]) -> None:
    headline = HEADLINE.fullmatch(lines[-1])
    assert headline
    report_path = Path(headline[2])
    assert "<html" in report_path.read_text()
    results = {
        step: json.loads((report_path.parents[1] / step / "results.json").read_text())["metrics"]
        for step in ("evaluate", "benchmark")
    }
    figures = summarize("evaluate", results["evaluate"]) + summarize(
        "benchmark", results["benchmark"]
    )
    assert headline[1] == " · ".join(figures)


@pytest.mark.parametrize(
    ("ap50", "verdict", "figures"),
    [
        (0.897, {}, "AP50 0.897 · 41.4 images/s"),
        (None, {"verdict": {"word": "slower"}}, "AP50 – · 41.4 images/s (slower)"),
    ],
)
def test_figures_of_a_run(ap50: float | None, verdict: dict[str, Any], figures: str) -> None:
    accuracy = {"metrics": {"ap50": ap50}}
    speed = {"metrics": {"images_per_second": 41.4}, **verdict}
    assert format_figures({"evaluate": accuracy, "benchmark": speed}) == figures


def test_figures_name_images_that_were_left_out() -> None:
    accuracy = {"metrics": {"ap50": 0.9}, "image_set": "mindspore", "images": 38}
    accuracy["skipped_images"] = 2
    assert format_figures({"evaluate": accuracy}).startswith(
        "AP50 0.900 · mindspore's reduced set, 38 of 40"
    )


def test_trained_model_is_benchmarked_by_its_uri(root: Path, lines: list[str]) -> None:
    (training,) = root.glob("training/*")
    words = ["benchmark", "--model", f"file://{quote(str(training))}", "--series", "nightly"]
    words += ["--root", str(root), "--set", "benchmark.seconds=0.05"]
    done = run([sys.executable, "-m", "pipelines", "run", *words])
    assert (done.returncode, done.stderr) == (0, "")
    *_, results, figures = done.stdout.splitlines()
    assert re.fullmatch(
        r"\S+ images/s \((not enough history|not stable)\) · latency \S+ ms", figures
    )
    found = json.loads(Path(results.removeprefix("results "), "benchmark/results.json").read_text())
    assert f"({found['verdict']['word']})" in figures
    assert [path.name for path in (root / "benchmarks/nightly").iterdir()] == ["000001.json"]


def test_model_below_a_requirement_is_not_published(few_images: Path, root: Path) -> None:
    """All steps but the last succeed, so the report exists."""
    words = command(few_images, root, "publish.min_ap=1")
    done = run([*words, "--model-name", "cells"])
    assert done.returncode == 3
    assert re.match(r"error: publish: ap is .*; publish\.min_ap requires", done.stderr)
    assert "report: done after" in done.stdout
    assert not (root / "models").exists()


def test_output_names_each_step_and_hides_kubeflow(lines: list[str]) -> None:
    assert [line.split(":")[0] for line in lines if line.endswith(": begins")] == list(
        STEPS["training"]
    )
    assert [line.split(":")[0] for line in lines if ": done after " in line] == list(
        STEPS["training"]
    )
    assert not any("KFP" in line or "{" in line for line in lines)


def test_log_has_the_output_of_the_executor(lines: list[str]) -> None:
    log = Path(
        next(line for line in lines if line.startswith("log ")).removeprefix("log ")
    ).read_text()
    assert log.count("Got executor_input") == len(STEPS["training"])


def test_ctrl_c_saves_the_work_and_leaves_nothing_running(few_images: Path, tmp_path: Path) -> None:
    with started(command(few_images, tmp_path, "train.steps=2000"), tmp_path) as process:
        below = descendants(process.pid)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate()
    assert process.returncode == 130
    assert errors == "error: stopped by SIGINT; repeat the command to complete its work\n"
    wait_until_gone(*below)
    (log,) = read_logs(tmp_path)
    assert "(exit 143)" in log


def test_killed_step_is_named(few_images: Path, tmp_path: Path) -> None:
    with started(command(few_images, tmp_path, "train.steps=2000"), tmp_path) as process:
        below = descendants(process.pid)
        os.kill(below[0], signal.SIGKILL)
        _, errors = process.communicate()
    assert process.returncode == 75
    message = "train was killed, possibly out of memory; the same command continues; the log is "
    assert errors.startswith(f"error: {message}")
    assert errors.count("\n") == 1
    wait_until_gone(*below)


def test_failed_step_is_explained(few_images: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(few_images, broken)
    annotation = min(broken.glob("Annotations/*.xml"))
    annotation.write_text(annotation.read_text()[:200])
    done = run(command(broken, tmp_path / "root"))
    assert done.returncode == 3
    assert done.stderr.startswith("error: convert: ")
    assert annotation.name in done.stderr
    assert "; the log is " in done.stderr
    assert done.stderr.count("\n") == 1
    assert "train: begins" not in done.stdout


def test_concurrent_runs_have_their_own_directories(few_images: Path, tmp_path: Path) -> None:
    """They end early, because the images are not in the COCO format."""
    words = command(few_images, tmp_path, "convert.format=coco")
    with ThreadPoolExecutor(3) as pool:
        ends = list(pool.map(run, [words] * 3))
    assert all(end.stderr.startswith("error: convert: ") for end in ends), ends
    assert len(read_logs(tmp_path)) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("training --recipe demo --dataset nowhere", "nowhere: "),
        ("training --recipe demo --dataset ftp://a/b", "'ftp://…' is not supported here"),
        (f"{DEMO} --device gpu", "unknown device 'gpu'; did you mean 'cuda'?"),
        (f"{DEMO} --root {ROOT}/README.md", f"{ROOT}/README.md"),
        ("training --dataset x", "the pipeline 'training' needs --recipe"),
        ("training --recipe demo", "the pipeline 'training' needs --dataset"),
        ("evaluation --dataset x", "the pipeline 'evaluation' needs --model"),
        ("evaluation --model x", "the pipeline 'evaluation' needs --dataset"),
        ("benchmark --model x", "the pipeline 'benchmark' needs --series"),
        (
            f"{SPEED} --dataset y",
            "the pipeline 'benchmark' does not take --dataset; it takes --model, --series and "
            "--set",
        ),
        ("benchmark --model x --series a/b", "'a/b' is not a valid name"),
        ("benchmark --model nowhere --series a", "nowhere does not exist; expected the output of"),
        (
            f"benchmark --model {ROOT}/examples --series a",
            f"{ROOT}/examples holds no model: config.json is missing",
        ),
        (f"{DEMO} --model-name .x", "'.x' is not a valid name"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_runs(
    pipelines: Command, arguments: str, message: str, tmp_path: Path
) -> None:
    assert pipelines.fails(2, "run", *arguments.split()).startswith(message)
    assert list(tmp_path.iterdir()) == []
