"""A whole pipeline with a failing store, killed at random moments, and repeated to its end.

A round takes two minutes; `make faults` runs some.
"""

import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ssd_core.store import Location
from tests.faults.fault_proxy import Fault, FaultProxy
from tests.faults.training_process import assert_equal_models
from tests.store.conftest import run_server, use_server
from tests.store.servers import VersityServer

PROJECT = Path(__file__).parents[2]
SETTINGS = {
    "train.model.image_size": 64,
    "train.batch_size": 2,
    "train.steps": 40,
    "train.checkpoint_interval": 4,
    "benchmark.seconds": 0.05,
    "benchmark.batch_sizes": [1],
}
FAULTS = ("error", "reset", "lost_answer", "cut")
KILLS = 4
RETRY = 75
"""Exit code of a run that a repetition may end."""
ROUNDS = int(os.environ.get("SSD_ROUNDS", "0"))


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
    return subprocess.Popen(
        [sys.executable, "-m", "pipelines", "run", *words, "--device", "cpu"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def finish(dataset: Path, root: str, folder: Path) -> Location:
    """Repeat the pipeline until it ends; return the directory of its results."""
    code = RETRY
    while code == RETRY:
        process = start(dataset, root, folder)
        output, errors = process.communicate()
        code = process.returncode
    assert code == 0, errors
    found = re.search(r"^results (s3://.*)$", output, re.MULTILINE)
    assert found
    return Location.parse(found[1])


@pytest.fixture(scope="module")
def undisturbed(proxy: FaultProxy, few_images: Path, tmp_path_factory) -> tuple[Location, float]:
    """Return the results of a run without faults, and its seconds."""
    started = time.monotonic()
    results = finish(few_images, "s3://bucket/undisturbed", tmp_path_factory.mktemp("work"))
    return results, time.monotonic() - started


@contextmanager
def failing(proxy: FaultProxy, rng: random.Random) -> Iterator[None]:
    """Let about a request in ten fail, one at a time, until the end of the block."""
    ended = threading.Event()

    def add_faults() -> None:
        seen, fault = 0, Fault("none", times=0)
        while not ended.wait(0.02):
            if fault.times == 0 and len(proxy.seen) >= seen + 10:
                seen, fault = len(proxy.seen), proxy.fail(rng.choice(FAULTS))

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
    seed = time.time_ns()
    print("seed:", seed)
    rng, root = random.Random(seed), f"s3://bucket/disturbed-{number}"
    with failing(proxy, rng):
        for _ in range(KILLS):
            process = start(few_images, root, tmp_path)
            try:
                process.wait(rng.uniform(0.1, 0.9) * seconds)
            except subprocess.TimeoutExpired:
                process.kill()
            output, errors = process.communicate()
            assert process.returncode in {0, RETRY, -signal.SIGKILL}, errors
        results = finish(few_images, root, tmp_path)
    assert_equal_models(model_of(results), model_of(expected))
    assert (
        read(results, "evaluate/results.json")["metrics"]
        == (read(expected, "evaluate/results.json")["metrics"])
    )
    assert read(results, "evaluate/detections.json") == read(expected, "evaluate/detections.json")


def read(directory: Location, path: str) -> Any:
    return json.loads(directory.get(path))


def model_of(results: Location) -> Location:
    """Return the model that the training of a run wrote."""
    return Location.parse(read(results, "train/results.json")["metadata"]["uri"])
