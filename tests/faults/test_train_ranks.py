"""`ssd train` on several ranks: the weights of a single one, and an end when a rank is lost."""

import os
import signal
import subprocess
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
    wait_for_step,
)
from tests.processes import children, wait_until_gone
from tests.rank_processes import finish_ranks, start_ranks, start_tasks
from tests.requirements import missing
from tests.train_logs import read_log

STEPS = 6
SETTINGS = {
    "model.image_size": 128,
    "batch_size": 8,
    "log_interval": 1,
    "checkpoint_interval": 2,
    "evaluate_every": 6,
    "loader_threads": 1,
    "optimizer.name": "sgd",
    "optimizer.learning_rate": 0.001,
}
TOLERANCE = 2e-3
"""Largest difference of a weight; trained weights are of the order of 1. A sum over ranks adds in
another order, as another number of threads does, and each step amplifies the last digit: after
these steps the difference was 2e-4 with 2 ranks and 7e-4 with a second thread."""

pytestmark = pytest.mark.usefixtures("code_dir")


def command(data_dir: Path, out_dir: Path, *more: str, steps: int = STEPS) -> list[str]:
    return train_command(SETTINGS | {"steps": steps}, data_dir, out_dir, *more)


def assert_same_weights(out_dir: Path, whole_dir: Path) -> None:
    ours, theirs = read_model(LocalDirectory(out_dir)), read_model(LocalDirectory(whole_dir))
    assert ours.description.training_id == theirs.description.training_id
    assert ours.description.step == theirs.description.step
    for name, array in theirs.weights.items():
        np.testing.assert_allclose(ours.weights[name], array, atol=TOLERANCE, err_msg=name)


@pytest.fixture(scope="module")
def whole_dir(code_dir, bccd_shards, tmp_path_factory):
    """Return the output of an undisturbed training in one process."""
    out_dir = tmp_path_factory.mktemp("whole") / "out"
    code, errors = run(command(bccd_shards, out_dir))
    assert code == 0, errors
    return out_dir


def test_two_ranks_end_with_the_weights_of_one(bccd_shards, whole_dir, tmp_path):
    ends = finish_ranks(start_ranks(command(bccd_shards, tmp_path), 2))
    assert [code for code, _, _ in ends] == [0, 0], ends
    assert ends[1][2] == ""  # rank 0 reports the progress
    assert_same_weights(tmp_path, whole_dir)
    ours, theirs = (read_log(path / "train_log.jsonl") for path in (tmp_path, whole_dir))
    assert [line["event"] for line in ours] == [line["event"] for line in theirs]
    assert ours[0]["world_size"] == 2
    for line, other in zip(ours, theirs, strict=True):
        if line["event"] == "step":
            assert line["samples"] == other["samples"]
            assert line["loss"] == pytest.approx(other["loss"], rel=1e-3)
            assert line["positives"] == pytest.approx(other["positives"])


def test_another_number_of_ranks_continues_after_sigterm(bccd_shards, whole_dir, tmp_path):
    """One task of srun receives the signal; both stop after the same step, with a checkpoint."""
    words = command(bccd_shards, tmp_path)
    processes = start_tasks(words, 2)
    wait_for_step(processes[0], tmp_path, 1)
    processes[1].send_signal(signal.SIGTERM)
    ends = finish_ranks(processes)
    assert [code for code, _, _ in ends] == [143, 143], ends
    last = steps_in(tmp_path)[-1]
    assert last < STEPS
    assert f"stopped by SIGTERM after step {last} of {STEPS}" in ends[0][2]
    assert (tmp_path / "checkpoints" / f"step-{last:08}" / "checkpoint.json").exists()
    code, errors = run(words)
    assert code == 0, errors
    assert f"continuing after step {last} of {STEPS}" in errors
    assert_same_weights(tmp_path, whole_dir)


@pytest.mark.parametrize("lost", [0, 1])
def test_a_killed_rank_ends_the_other(bccd_shards, tmp_path, lost):
    words = command(bccd_shards, tmp_path, steps=100_000)
    processes = start_ranks(words, 2)
    wait_for_step(processes[0], tmp_path, 3)
    processes[lost].kill()
    ends = finish_ranks(processes)
    assert ends[lost][0] == -signal.SIGKILL
    code, _, errors = ends[1 - lost]
    assert code == 75
    assert f"error: rank {1 - lost} of 2 has lost another rank: " in errors
    assert "Traceback" not in errors


def test_a_rank_that_hangs_ends_the_command(bccd_shards, tmp_path, monkeypatch):
    monkeypatch.setenv("SSD_STALL_MINUTES", "0.4")
    monkeypatch.setenv("SSD_TERMINATION_LOG", str(tmp_path / "log"))
    words = command(bccd_shards, tmp_path / "out", "--num-devices", "2", steps=100_000)
    process = start(words)
    wait_for_step(process, tmp_path / "out", 3)
    os.kill(children(process.pid)[1], signal.SIGSTOP)
    _, errors = process.communicate()
    assert process.returncode == 75
    assert "most recent call first" in errors
    message = "error: no progress for 0.4 minutes while it waited for another rank: the stacks"
    *_, stall, last = errors.splitlines()
    assert stall.startswith(message)
    assert last == "error: rank 1 hung and was killed 10 s after another one"
    assert (tmp_path / "log").read_text().endswith("or raise SSD_STALL_MINUTES (exit 75)\n")


def test_a_device_that_its_library_aborts_ends_the_command(bccd_shards, whole_dir, tmp_path):
    """As the watchdog of a library for sums does; the same command continues, and returns at once
    after the end, on any number of ranks."""
    words = command(bccd_shards, tmp_path, "--num-devices", "2")
    assert_killed_rank_ends(words, tmp_path, 3, signal.SIGABRT)  # step 2 is saved by then
    newest = newest_checkpoint(tmp_path)
    code, errors = run(words)
    assert code == 0, errors
    assert f"continuing after step {newest} of {STEPS}" in errors
    assert errors.count("training on 100 images with 2 ranks") == 1
    line = "a step takes 8 images, 4 per rank, at a learning rate of 0.001 (not scaled)"
    assert errors.count(line) == 1
    assert_same_weights(tmp_path, whole_dir)
    before = (tmp_path / "train_log.jsonl").read_bytes()
    assert run(command(bccd_shards, tmp_path))[0] == 0
    assert (tmp_path / "train_log.jsonl").read_bytes() == before


def test_sigterm_for_the_command_reaches_all_devices(bccd_shards, tmp_path):
    words = command(bccd_shards, tmp_path, "--num-devices", "2", steps=100_000)
    process = start(words)
    wait_for_step(process, tmp_path, 1)
    ranks = children(process.pid)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate()
    last = steps_in(tmp_path)[-1]
    assert process.returncode == 143, errors
    line = f"error: stopped by SIGTERM after step {last} of 100000; the same command continues"
    assert errors.splitlines()[-1].startswith(line)
    assert errors.count("stopped by") == errors.count("SIGTERM") == 1
    assert "death signal" not in errors
    assert (tmp_path / "checkpoints" / f"step-{last:08}" / "checkpoint.json").exists()
    assert "Traceback" not in errors
    wait_until_gone(*ranks)


def test_wrong_arguments_are_one_line_and_start_nothing(bccd_shards, tmp_path):
    for more, message in (
        (["--num-devices", "3"], "train.batch_size 8 does not divide over 3 devices"),
        (["--nnodes", "2", "--node-rank", "2"], "--node-rank is 2, expected 0..1 of 2 machines"),
    ):
        code, errors = run(command(bccd_shards, tmp_path / "out", *more))
        assert code == 2
        assert errors.count("\n") == 1
        assert message in errors
        assert not (tmp_path / "out").exists()


@pytest.fixture
def machines():
    """Return the names of two network namespaces, 10.99.0.1 and 10.99.0.2, joined by a cable."""
    names = [f"ssd{os.getpid()}{end}" for end in "ab"]
    words = [f"netns add {name}" for name in names]
    words.append(f"link add ssd-a netns {names[0]} type veth peer name ssd-b netns {names[1]}")
    for number, (name, link) in enumerate(zip(names, ("ssd-a", "ssd-b"), strict=True), 1):
        words.append(f"-n {name} addr add 10.99.0.{number}/24 dev {link}")
        words += [f"-n {name} link set {each} up" for each in ("lo", link)]
    try:
        for line in words:
            done = subprocess.run(["ip", *line.split()], capture_output=True, text=True)
            if done.returncode:
                missing("netns", f"network namespaces are not permitted here: {done.stderr}")
        yield names
    except FileNotFoundError:
        missing("netns", "this machine has no program ip")
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True)


def test_machines_need_no_common_disk(bccd_shards, whole_dir, tmp_path, machines):
    """Two machines with one device each: only the first writes files."""
    options = ["--nnodes=2", "--master-addr=10.99.0.1"]
    processes = []
    for number, name in enumerate(machines):
        place = ["--node-rank", str(number), "--local-addr", f"10.99.0.{number + 1}"]
        words = command(bccd_shards, tmp_path / str(number), *options, *place)
        processes.append(start(["ip", "netns", "exec", name, *words]))
    ends = [(process.communicate()[1], process.returncode) for process in processes]
    assert [code for _, code in ends] == [0, 0], ends
    assert_same_weights(tmp_path / "0", whole_dir)
    assert not list((tmp_path / "1").glob("**/*"))
