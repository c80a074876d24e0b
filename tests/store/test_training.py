"""Trainings into a store: killed, disconnected, overtaken, and continued on an empty machine.

Each `ssd train` below has its own temporary directory, which is removed afterwards.
"""

import json
import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from ssd_core.store import LocalDirectory, Location
from ssd_core.store.transfer import download_directory
from tests.faults import training_process
from tests.faults.fault_proxy import FaultProxy
from tests.faults.training_process import assert_equal_models, train_command
from tests.store.conftest import keys
from tests.store.servers import wait_until
from tests.train_logs import read_log

STEPS = 12
SETTINGS = {
    "model.image_size": 64,
    "batch_size": 2,
    "steps": STEPS,
    "log_interval": 2,
    "checkpoint_interval": 4,
    "loader_threads": 1,
}
VOLATILE = {"seconds", "images_per_second", "data_wait", "host_memory", "warm_up_steps", "time"}
MOMENTS = (
    "training.json",
    "step-00000004/state.safetensors",
    "step-00000004/checkpoint.json",
    "train_log.jsonl",
    "model/weights.safetensors",
    "results.json",
)
"""Objects whose upload kills the process, in the order of a training."""

pytestmark = pytest.mark.usefixtures("code_dir")


def start(data_dir: Path, out: Location, folder: Path) -> subprocess.Popen[str]:
    """Start `ssd train` with `folder` for its temporary files."""
    return training_process.start(train_command(SETTINGS, data_dir, out), TMPDIR=str(folder))


def run(
    data_dir: Path, out: Location, started: Callable[[int], None] | None = None
) -> tuple[int, str]:
    """Train on an empty machine; return exit code and log."""
    with tempfile.TemporaryDirectory() as folder:
        process = start(data_dir, out, Path(folder))
        if started is not None:
            started(process.pid)
        _, log = process.communicate()
        left = list(Path(folder).glob("ssd-*"))
    assert process.returncode < 0 or left == []
    return process.returncode, log


def succeed(data_dir: Path, out: Location) -> str:
    """Train successfully and return the log."""
    code, log = run(data_dir, out)
    assert code == 0, log
    return log


@pytest.fixture(scope="module")
def whole_dir(code_dir: Path, bccd_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the output of an undisturbed training into a local directory."""
    out_dir = tmp_path_factory.mktemp("whole") / "out"
    succeed(bccd_shards, LocalDirectory(out_dir))
    return out_dir


def lines_of(out_dir: Path) -> list[dict[str, object]]:
    """Return the log without times and starts of attempts."""
    lines = [line for line in read_log(out_dir / "train_log.jsonl") if line["event"] != "start"]
    return [{k: v for k, v in line.items() if k not in VOLATILE} for line in lines]


def assert_equal_end(location: Location, whole_dir: Path, folder: Path) -> None:
    """Compare model, checkpoints and log with those of the undisturbed training."""
    download_directory(location, folder)
    assert_equal_models(LocalDirectory(folder), LocalDirectory(whole_dir))
    assert lines_of(folder) == lines_of(whole_dir)
    for name in ("checkpoints/step-*/*.safetensors", "training.json"):
        for path in whole_dir.glob(name):
            assert (folder / path.relative_to(whole_dir)).read_bytes() == path.read_bytes()
    results = json.loads((folder / "results.json").read_text())
    assert results["steps"] == STEPS
    assert json.loads((folder / "invocation.json").read_text())["stage"] == "train"


def test_a_training_killed_at_each_upload_continues(
    bccd_shards: Path,
    whole_dir: Path,
    tmp_path: Path,
    user_proxy: FaultProxy,
    location: Location,
) -> None:
    victim: list[int] = []

    def kill() -> None:
        os.kill(victim[-1], signal.SIGKILL)

    for moment in MOMENTS:
        user_proxy.fail("call", method="PUT", target=moment, call=kill)
        code, log = run(bccd_shards, location, victim.append)
        assert code == -signal.SIGKILL, log
        if moment == "results.json":  # the request completes although its sender is dead
            assert wait_until(lambda: "results.json" in keys(location))
            location.delete("results.json")
        assert "results.json" not in keys(location)
        user_proxy.heal()
    log = succeed(bccd_shards, location)
    assert f"continuing after step {STEPS} of {STEPS}" in log
    assert_equal_end(location, whole_dir, tmp_path / "end")
    before = {request.target for request in user_proxy.seen if request.method == "PUT"}
    assert any("results.json" in target for target in before)
    user_proxy.heal()
    log = succeed(bccd_shards, location)
    assert "continuing" not in log
    assert {request.method for request in user_proxy.seen} <= {"GET", "HEAD"}


def test_a_store_that_stays_unavailable_ends_the_attempt(
    bccd_shards: Path,
    whole_dir: Path,
    tmp_path: Path,
    user_proxy: FaultProxy,
    location: Location,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    user_proxy.fail("error", times=9999, method="PUT", target="step-00000008/")
    with monkeypatch.context() as patch:
        patch.setenv("SSD_STORE_PATIENCE", "1")
        code, log = run(bccd_shards, location)
    assert code == 75
    assert log.splitlines()[-1].startswith(f"error: {location}/checkpoints/step-00000008/")
    assert "Traceback" not in log
    user_proxy.heal()
    log = succeed(bccd_shards, location)
    assert f"continuing after step 4 of {STEPS}" in log
    assert_equal_end(location, whole_dir, tmp_path / "end")


def test_an_attempt_that_was_overtaken_stops(
    bccd_shards: Path, whole_dir: Path, tmp_path: Path, user_proxy: FaultProxy, location: Location
) -> None:
    stopped = threading.Event()
    (tmp_path / "zombie").mkdir()
    pid: list[int] = []

    def pause() -> None:
        os.kill(pid[0], signal.SIGSTOP)
        stopped.set()

    user_proxy.fail("call", method="PUT", target="step-00000004/state", call=pause)
    zombie = start(bccd_shards, location, tmp_path / "zombie")
    pid.append(zombie.pid)
    assert stopped.wait(120)
    succeed(bccd_shards, location)
    zombie.send_signal(signal.SIGCONT)
    _, errors = zombie.communicate()
    assert zombie.returncode == 76, errors
    assert "attempt 2 at this training has taken over; attempt 1 stops" in errors
    assert_equal_end(location, whole_dir, tmp_path / "end")
