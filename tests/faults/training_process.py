"""`ssd train` of the demo in processes of its own, on one thread each."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ssd_core.model_dir import read_model
from ssd_core.store import Location
from tests.processes import children, wait_until_gone
from tests.train_logs import read_log


def train_command(
    settings: Mapping[str, Any], data_dir: Path, out_dir: Path | Location, *more: str
) -> list[str]:
    """Return the words of a training on the CPU; the keys of `settings` are in section `train`."""
    changes = [
        word for key, value in settings.items() for word in ("--set", f"train.{key}={value}")
    ]
    options = ["--data", str(data_dir), "--out", str(out_dir)]
    program = [sys.executable, "-m", "ssd_core.cli", "train"]
    return [*program, *options, "--recipe", "demo", "--device", "cpu", *changes, *more]


def start(
    words: Sequence[str], before: Callable[[], None] | None = None, **variables: str
) -> subprocess.Popen[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | variables
    return subprocess.Popen(
        words, stderr=subprocess.PIPE, text=True, env=environment, preexec_fn=before
    )


def run(words: Sequence[str], before: Callable[[], None] | None = None) -> tuple[int, str]:
    """Run to the end; return the exit code and standard error."""
    process = start(words, before)
    _, errors = process.communicate()
    return process.returncode, errors


def steps_in(out_dir: Path) -> list[int]:
    """Return the steps that the log has a line for."""
    log_path = out_dir / "train_log.jsonl"
    lines = read_log(log_path) if log_path.exists() else []
    return [line["step"] for line in lines if line["event"] == "step"]


def wait_for_step(process: subprocess.Popen[str], out_dir: Path, step: int) -> None:
    """Return when the log has reached a step; the training must still be running then."""
    while max(steps_in(out_dir), default=0) < step:
        assert process.poll() is None, process.communicate()
        time.sleep(0.002)
    assert process.poll() is None, process.communicate()


def newest_checkpoint(out_dir: Path) -> int:
    """Return the step of the newest committed checkpoint, 0 for none."""
    commits = out_dir.glob("checkpoints/step-*/checkpoint.json")
    return max((int(path.parent.name[5:]) for path in commits), default=0)


def assert_equal_models(location: Location, expected: Location) -> None:
    """Compare two models bit by bit."""
    ours, theirs = read_model(location), read_model(expected)
    assert ours.description == theirs.description
    assert ours.weights.keys() == theirs.weights.keys()
    for name, array in theirs.weights.items():
        assert np.array_equal(ours.weights[name], array), name


def assert_killed_rank_ends(
    words: Sequence[str], out_dir: Path, step: int, number: signal.Signals = signal.SIGKILL
) -> None:
    """End rank 1 of a command with several ranks by a signal after a step."""
    process = start(words)
    wait_for_step(process, out_dir, step)
    ranks = children(process.pid)
    assert len(ranks) > 1
    os.kill(ranks[1], number)
    _, errors = process.communicate()
    assert process.returncode == 75, errors
    assert f"rank 1 was killed by {number.name}" in errors
    assert "Traceback" not in errors
    wait_until_gone(*ranks)
