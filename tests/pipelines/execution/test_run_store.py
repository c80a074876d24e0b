"""The pipelines on this machine, with their data in a real S3 store."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ssd_core.store import Location
from tests.pipelines.conftest import STEPS, Command
from tests.store.conftest import run_server, use_server
from tests.store.servers import SECRET_KEY, S3Server, VersityServer

PROJECT = Path(__file__).parents[3]
QUICK = [
    "train.model.image_size=64",
    "train.batch_size=2",
    "train.steps=4",
    "train.checkpoint_interval=2",
    "benchmark.seconds=0.05",
    "benchmark.batch_sizes=[1]",
]
ROOT = "s3://bucket/data root"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with run_server(VersityServer(tmp_path_factory.mktemp("versitygw"))) as server:
        yield server


@pytest.fixture(scope="module")
def work(server: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Working directory of the commands; the environment names the store."""
    folder = tmp_path_factory.mktemp("work")
    with pytest.MonkeyPatch.context() as patch:
        use_server(patch, server, folder)
        patch.setenv("PYTHONPATH", str(PROJECT))
        yield folder


def run(work: Path, pipeline: str, *words: str, code: int = 0) -> list[str]:
    """Run a pipeline, and return its output."""
    command = [sys.executable, "-m", "pipelines", "run", pipeline, "--root", ROOT]
    command += [*words, "--device", "cpu"]
    done = subprocess.run(command, cwd=work, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert SECRET_KEY not in done.stdout + done.stderr
    return (done.stderr if code else done.stdout).splitlines()


def begun(lines: list[str]) -> list[str]:
    return [line.split(":")[0] for line in lines if line.endswith(": begins")]


@pytest.fixture(scope="module")
def trained(work: Path, few_images: Path) -> list[str]:
    words = ["--recipe", "demo", "--dataset", str(few_images), "--model-name", "cells"]
    words += ["--model-version", "1", "--export-format", "torchscript"]
    return run(work, "training", *words, *(w for change in QUICK for w in ("--set", change)))


def test_training_leaves_everything_in_the_store(trained: list[str]) -> None:
    assert begun(trained) == list(STEPS["training"])
    report = re.fullmatch(r"AP \S+ · AP50 .+ ms · report (s3://.*)/report\.html", trained[-1])
    assert report
    assert b"<html" in Location.parse(report[1]).get("report.html")
    results = trained[-2].removeprefix("results ")
    assert results == report[1].rpartition("/")[0]
    for step in ("train", "evaluate", "benchmark", "report", "publish", "export"):
        store = Location.parse(f"{results}/{step}")
        assert json.loads(store.get("results.json"))["metrics"] is not None
        assert json.loads(store.get("invocation.json"))["stage"] == step
    assert Location.parse(f"{results}/export").head("model.pt") is not None
    published = {stored.key for stored in Location.parse(f"{ROOT}/models/cells/1").list()}
    assert "published.json" in published


@pytest.fixture(scope="module")
def evaluated(work: Path, trained: list[str], few_images: Path) -> list[str]:
    words = ["--model", f"{ROOT}/models/cells/1", "--dataset", str(few_images)]
    return run(work, "evaluation", *words)


def test_published_model_is_evaluated(trained: list[str], evaluated: list[str]) -> None:
    assert begun(evaluated) == list(STEPS["evaluation"])
    figure = re.match(r"(AP \S+ · AP50 \S+) · report s3://", evaluated[-1])
    assert figure
    assert trained[-1].startswith(figure[1])


def test_every_step_is_repeated_from_its_record(
    trained: list[str], evaluated: list[str], pipelines: Command, client: Path, tmp_path: Path
) -> None:
    runs = dict.fromkeys(STEPS["evaluation"], evaluated) | dict.fromkeys(STEPS["training"], trained)
    for step, lines in runs.items():
        results = lines[-2].removeprefix("results ")
        words = ["component", step, "--image", "tools:1", "--from-run", results.rpartition("/")[2]]
        words += ["--root", ROOT, "--out", str(tmp_path / step)]
        assert pipelines.lines(*words)[1:] == [str(tmp_path / step)]
        assert "Got executor_input" in (tmp_path / step / "log.txt").read_text()
        if step == "evaluate":
            again = json.loads((tmp_path / step / "evaluation" / "results.json").read_text())
            found = json.loads(Location.parse(f"{results}/{step}").get("results.json"))
            assert again["metrics"] == found["metrics"]


def test_benchmarks_of_a_series_are_compared(work: Path, trained: list[str]) -> None:
    words = ["--model", f"{ROOT}/models/cells/1", "--series", "nightly"]
    for change in ("benchmark.seconds=0.05", "benchmark.batch_sizes=[1]"):
        words += ["--set", change]
    first, second = run(work, "benchmark", *words), run(work, "benchmark", *words)
    assert begun(first) == list(STEPS["benchmark"])
    verdict = "(not enough history|not stable)"
    for lines in (first, second):
        assert any(re.search(f"images/s: {verdict} ", line) for line in lines)
        assert re.fullmatch(rf"\S+ images/s \({verdict}\) · latency \S+ ms", lines[-1])
    assert len(list(Location.parse(f"{ROOT}/benchmarks/nightly").list())) == 2


def test_missing_model_is_named_before_anything_runs(work: Path, trained: list[str]) -> None:
    words = ["--model", f"{ROOT}/models/cells/2", "--series", "nightly"]
    (line,) = run(work, "benchmark", *words, code=2)
    assert line.startswith(f"error: {ROOT}/models/cells/2 holds no model")


def test_no_file_or_object_contains_the_secret(
    work: Path, server: S3Server, trained: list[str]
) -> None:
    """The directory of the store contains its objects."""
    paths = [path for place in (work, server.folder) for path in place.rglob("*")]
    assert {"log.txt", "report.html", "invocation.json"} <= {path.name for path in paths}
    secret = SECRET_KEY.encode()
    assert [path for path in paths if path.is_file() and secret in path.read_bytes()] == []
