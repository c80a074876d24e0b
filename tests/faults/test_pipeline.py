"""A whole pipeline with a failing store, killed at random moments, and repeated to its end."""

import itertools
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ssd_core.store import Location
from tests.faults.fault_proxy import Fault, FaultProxy
from tests.faults.training_process import assert_equal_models
from tests.requirements import INSTALLED_FRAMEWORKS
from tests.store.conftest import run_server, use_server
from tests.store.servers import VersityServer

PROJECT = Path(__file__).parents[2]
SETTINGS = {
    "train.model.image_size": 64,
    "train.batch_size": 2,
    "train.steps": 24,
    "train.checkpoint_interval": 4,
    "benchmark.seconds": 0.05,
    "benchmark.batch_sizes": [1],
}
FAULTS: list[dict[str, Any]] = [
    {"mode": "error"},
    {"mode": "error", "status": 502, "code": "", "page": "<html>"},
    {"mode": "error", "status": 404, "code": "", "page": "<html>"},
    {"mode": "error", "method": "GET", "status": 404, "code": "not < well formed"},
    {"mode": "reset"},
    {"mode": "lost_answer"},
    {"mode": "cut"},
    {"mode": "corrupt", "method": "GET"},
    {"mode": "corrupt_upload", "method": "PUT"},
]
KILLS = 2
RETRY = 75
"""Exit code of a run that a repetition may end."""
FRAMEWORK = INSTALLED_FRAMEWORKS[0]
ROUNDS = int(os.environ.get("SSD_ROUNDS", "3" if FRAMEWORK == "torch" else "1"))
"""Those of MindSpore take longer: each process compiles."""


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultProxy]:
    """Return a proxy before an S3 server, which the environment names."""
    folder = tmp_path_factory.mktemp("versitygw")
    with (
        run_server(VersityServer(folder)) as server,
        FaultProxy(server.port) as proxy,
        pytest.MonkeyPatch.context() as patch,
    ):
        use_server(patch, server, tmp_path_factory.mktemp("machine"))
        patch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        patch.setenv("PYTHONPATH", str(PROJECT))
        yield proxy


def start(dataset: Path, root: str, folder: Path) -> "subprocess.Popen[str]":
    words = ["training", "--recipe", "demo", "--dataset", str(dataset), "--root", root]
    words += [word for key, value in SETTINGS.items() for word in ("--set", f"{key}={value}")]
    words += ["--framework", FRAMEWORK, "--device", "cpu"]
    return subprocess.Popen(
        [sys.executable, "-m", "pipelines", "run", *words],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def repeat(dataset: Path, root: str, folder: Path, kills: Sequence[float] = ()) -> Location:
    """Repeat the pipeline until it ends; return the directory of its results.

    `kills` are the seconds after which the first runs are killed, unless they have ended.
    """
    for seconds in itertools.chain(kills, itertools.repeat(None)):
        process = start(dataset, root, folder)
        try:
            output, errors = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            output, errors = process.communicate()
        if process.returncode == 0:
            break
        assert process.returncode in {RETRY, -signal.SIGKILL}, errors
    found = re.search(r"^results (s3://.*)$", output, re.MULTILINE)
    assert found
    return Location.parse(found[1])


@pytest.fixture(scope="module")
def undisturbed(proxy: FaultProxy, few_images: Path, tmp_path_factory) -> tuple[Location, float]:
    """Return the outcome of a run without faults, and its seconds."""
    started = time.monotonic()
    results = repeat(few_images, "s3://bucket/undisturbed", tmp_path_factory.mktemp("work"))
    return results, time.monotonic() - started


@contextmanager
def failing(proxy: FaultProxy, rng: random.Random) -> Iterator[None]:
    """Let about a request in ten fail, one at a time, until the end of the block."""
    ended = threading.Event()

    def add_faults() -> None:
        seen, fault = 0, Fault("none", times=0)
        while not ended.wait(0.02):
            if fault.times == 0 and len(proxy.seen) >= seen + 10:
                seen, fault = len(proxy.seen), proxy.fail(**rng.choice(FAULTS))

    thread = threading.Thread(target=add_faults)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        proxy.heal()


@pytest.mark.parametrize("number", range(ROUNDS))
def test_faults_and_kills_change_nothing(
    number: int,
    proxy: FaultProxy,
    undisturbed: tuple[Location, float],
    few_images: Path,
    tmp_path: Path,
) -> None:
    expected, seconds = undisturbed
    seed = int(os.environ.get("SSD_SEED", time.time_ns())) + number
    print(f"repeat this round: make faults ROUNDS=1 SSD_SEED={seed}")
    rng = random.Random(seed)
    with failing(proxy, rng):
        kills = [rng.uniform(0.05, 0.8) * seconds for _ in range(KILLS)]
        results = repeat(few_images, f"s3://bucket/disturbed-{number}", tmp_path, kills)
    assert_equal_models(model_of(results), model_of(expected))
    assert read(results, "evaluate/detections.json") == read(expected, "evaluate/detections.json")
    assert report_of(results) == report_of(expected)


def read(directory: Location, path: str) -> Any:
    return json.loads(directory.get(path))


def model_of(results: Location) -> Location:
    """Return the model that the training of a run wrote."""
    return Location.parse(read(results, "train/results.json")["metadata"]["uri"])


def report_of(results: Location) -> tuple[float, Any]:
    """Return the last loss and all values of the evaluation, as far as they are not times."""
    report = read(results, "report/report.json")
    evaluation = report["evaluate"]["results"]
    assert evaluation.pop("run")
    return report["train"]["results"]["metrics"]["loss"], evaluation
