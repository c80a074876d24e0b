"""`ssd train --framework mindspore` on two ranks: the weights of one, and an end when one is lost.

A process needs half a minute to compile its graph, so one training goes through all of it.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ssd_core.model_dir import read_model
from ssd_core.store import LocalDirectory
from tests.faults.training_process import (
    assert_killed_rank_ends,
    newest_checkpoint,
    run,
    start,
    steps_in,
    train_command,
)
from tests.rank_processes import free_port
from tests.train_logs import read_log

STEPS = 8
SETTINGS = {
    "model.image_size": 128,
    "batch_size": 8,
    "steps": STEPS,
    "log_interval": 1,
    "checkpoint_interval": 2,
    "loader_threads": 1,
    "optimizer.name": "sgd",
    "optimizer.learning_rate": 0.001,
}
TOLERANCE = 2e-3
"""Largest difference of a weight, as for PyTorch."""

pytestmark = [pytest.mark.mindspore, pytest.mark.usefixtures("code_dir")]


def command(data_dir: Path, out_dir: Path, *more: str) -> list[str]:
    return train_command(SETTINGS, data_dir, out_dir, "--framework", "mindspore", *more)


def test_a_killed_training_on_two_ranks_ends_with_the_weights_of_one(bccd_shards, tmp_path):
    whole_dir, out_dir = tmp_path / "whole", tmp_path / "out"
    code, errors = run(command(bccd_shards, whole_dir))
    assert code == 0, errors
    words = command(bccd_shards, out_dir, "--num-devices", "2")
    assert_killed_rank_ends(words, out_dir, 3)
    last = newest_checkpoint(out_dir)
    assert 2 <= last < STEPS

    # Two machines with one device each, simulated on one; the second one has no files.
    nodes = ["--nnodes=2", f"--master-port={(port := free_port())}"]
    second = start(command(bccd_shards, tmp_path / "second", *nodes, "--node-rank=1"))
    code, errors = run(command(bccd_shards, out_dir, *nodes))
    assert second.communicate()[1] == f"waiting for 1 other rank at 127.0.0.1:{port}\n"
    assert (code, second.returncode) == (0, 0), errors
    assert not list((tmp_path / "second").glob("**/*"))
    assert errors.count("training on 100 images with 2 ranks") == 1
    assert f"continuing after step {last} of {STEPS}" in errors
    ours, theirs = (read_model(LocalDirectory(path)) for path in (out_dir, whole_dir))
    assert ours.description.training_id == theirs.description.training_id
    for name, array in theirs.weights.items():
        np.testing.assert_allclose(ours.weights[name], array, atol=TOLERANCE, err_msg=name)
    assert steps_in(out_dir) == list(range(1, STEPS + 1))
    ours, theirs = (
        [line for line in read_log(path / "train_log.jsonl") if line["event"] == "step"]
        for path in (out_dir, whole_dir)
    )
    for line, other in zip(ours, theirs, strict=True):
        assert line["loss"] == pytest.approx(other["loss"], rel=1e-3)
        assert line["positives"] == pytest.approx(other["positives"])

    # A finished training returns at once; msrun starts its ranks and a scheduler, with `python`.
    before = (out_dir / "train_log.jsonl").read_bytes()
    msrun = Path(sys.executable).with_name("msrun")
    options = ["--worker_num=2", "--local_worker_num=2", f"--master_port={free_port()}"]
    log_dir = tmp_path / "log"
    done = subprocess.run(
        [msrun, *options, f"--log_dir={log_dir}", "--join=True", "python", *words[1:-2]],
        env=os.environ | {"PATH": f"{msrun.parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
    )
    logs = {path.name: path.read_text() for path in log_dir.iterdir()}
    assert done.returncode == 0, logs
    assert "already trained" in logs["worker_0.log"]
    assert (out_dir / "train_log.jsonl").read_bytes() == before
