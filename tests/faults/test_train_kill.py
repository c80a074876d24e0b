"""`ssd train` under real signals, on a full disk, beside a second attempt; then a rerun."""

import random
import resource
import shutil
import signal
import time
from pathlib import Path

import pytest

from ssd_core.store import LocalDirectory
from tests.faults.training_process import (
    assert_equal_models,
    newest_checkpoint,
    run,
    start,
    steps_in,
    train_command,
    wait_for_step,
)
from tests.requirements import INSTALLED_FRAMEWORKS
from tests.train_logs import read_log

STEPS = 60
SETTINGS = {
    "model.image_size": 64,
    "batch_size": 2,
    "steps": STEPS,
    "log_interval": 2,
    "checkpoint_interval": 5,
    "loader_threads": 1,
    "loss_scale.start": 4e17,  # in fp32, too, it overflows now and then
    "loss_scale.growth_interval": 7,
}
FRAMEWORK = INSTALLED_FRAMEWORKS[0]
SIGNALS = [signal.SIGKILL, signal.SIGTERM] * (5 if FRAMEWORK == "torch" else 1)
"""MindSpore compiles for 15 seconds at each start."""
pytestmark = pytest.mark.usefixtures("code_dir")


def command(data_dir: Path, out_dir: Path, *more: str) -> list[str]:
    return train_command(SETTINGS, data_dir, out_dir, "--framework", FRAMEWORK, *more)


def assert_equal_end(out_dir: Path, whole_dir: Path) -> None:
    assert_equal_weights(out_dir, whole_dir)
    assert steps_in(out_dir) == steps_in(whole_dir)


def assert_equal_weights(out_dir: Path, whole_dir: Path) -> None:
    assert_equal_models(LocalDirectory(out_dir), LocalDirectory(whole_dir))
    skipped = [read_log(each / "train_log.jsonl")[-1]["skipped"] for each in (out_dir, whole_dir)]
    assert skipped[0] == skipped[1] > 1


@pytest.fixture(scope="module")
def whole_dir(code_dir, bccd_shards, tmp_path_factory):
    """Return the output of an undisturbed training."""
    out_dir = tmp_path_factory.mktemp("whole") / "out"
    assert run(command(bccd_shards, out_dir))[0] == 0
    return out_dir


def kill_after_step(words: list[str], out_dir: Path, step: int) -> None:
    process = start(words)
    wait_for_step(process, out_dir, step)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def test_ends_at_random_moments_change_nothing(bccd_shards, whole_dir, tmp_path):
    """Before the first step, too, where the log still has the step that is waited for.

    A signal ends an interval of the log, so only the weights are equal.
    """
    seed = time.time_ns()
    print("seed:", seed)
    rng, words = random.Random(seed), command(bccd_shards, tmp_path)
    steps = sorted(rng.choices(range(1, STEPS - 10), k=len(SIGNALS)))
    for step, number in zip(steps, rng.sample(SIGNALS, len(SIGNALS)), strict=True):
        process = start(words)
        wait_for_step(process, tmp_path, step)
        time.sleep(rng.uniform(0, 0.1))
        process.send_signal(number)
        process.communicate()
        assert process.returncode in {-number, 128 + number}
        assert not (tmp_path / "results.json").exists()
    code, errors = run(words)
    assert code == 0, errors
    assert_equal_weights(tmp_path, whole_dir)


def test_kill_while_a_finished_training_is_extended(bccd_shards, whole_dir, tmp_path):
    ends = {name: shutil.copytree(whole_dir, tmp_path / name) for name in ("whole", "killed")}
    longer = ("--set", f"train.steps={STEPS + 12}", "--extend")
    assert run(command(bccd_shards, ends["whole"], *longer))[0] == 0
    kill_after_step(command(bccd_shards, ends["killed"], *longer), ends["killed"], STEPS + 2)
    assert run(command(bccd_shards, ends["killed"], *longer))[0] == 0
    assert_equal_end(ends["killed"], ends["whole"])
    assert max(steps_in(ends["whole"])) == STEPS + 12


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_leaves_a_checkpoint(bccd_shards, tmp_path, number, code):
    process = start(command(bccd_shards, tmp_path))
    wait_for_step(process, tmp_path, 11)
    process.send_signal(number)
    _, errors = process.communicate()
    last = newest_checkpoint(tmp_path)
    assert process.returncode == code
    assert f"stopped by {number.name} after step {last} of {STEPS}" in errors
    assert last == max(steps_in(tmp_path)) > 10


def test_the_second_signal_ends_at_once(bccd_shards, tmp_path):
    process = start(command(bccd_shards, tmp_path, "--set", "train.checkpoint_interval=1"))
    wait_for_step(process, tmp_path, 4)
    process.send_signal(signal.SIGSTOP)  # so that both signals are pending together
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGCONT)
    process.communicate()
    assert process.returncode in {128 + signal.SIGTERM, 128 + signal.SIGINT}


def test_a_full_disk_keeps_the_last_checkpoint(bccd_shards, whole_dir, tmp_path):
    words = command(bccd_shards, tmp_path)
    kill_after_step(words, tmp_path, 6)
    last = newest_checkpoint(tmp_path)

    def limit_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    code, errors = run(words, limit_files)
    assert code == 75
    assert "the disk is full; free some space and repeat the command" in errors
    assert "Traceback" not in errors
    assert newest_checkpoint(tmp_path) == last
    assert list(tmp_path.glob("**/.partial-*")) == []
    assert run(words)[0] == 0
    assert_equal_end(tmp_path, whole_dir)


def test_a_damaged_checkpoint_costs_its_interval_only(bccd_shards, whole_dir, tmp_path):
    shutil.copytree(whole_dir / "checkpoints", tmp_path / "checkpoints")
    shutil.copy(whole_dir / "training.json", tmp_path)
    shutil.copy(whole_dir / "train_log.jsonl", tmp_path)
    path = tmp_path / "checkpoints" / f"step-{STEPS:08}" / "state.safetensors"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    code, errors = run(command(bccd_shards, tmp_path))
    assert code == 0
    assert "state.safetensors is damaged" in errors
    assert f"continuing after step {STEPS - 5} of {STEPS}" in errors
    assert_equal_end(tmp_path, whole_dir)
