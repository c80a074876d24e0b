"""Checkpoints against damage, a full disk and a second writer."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ssd_core.errors import TransientError
from ssd_core.store import LocalDirectory
from ssd_core.training.checkpoints import CheckpointDir, TrainState
from tests.small_model import CLASSES, describe_model

TRAINING = describe_model().training_id
TURNED = np.arange(24, dtype=np.float32).reshape(2, 3, 4).transpose(2, 0, 1)
ARRAYS = {
    "weights/weight": np.arange(12, dtype=np.float32).reshape(3, 4),
    "step": np.array(7.0, np.float32),
    "count": np.array([1, 2], np.int64),
    "weights/empty": np.zeros((0, 3), np.float32),
    "weights/turned": TURNED,
    "sliced": TURNED[::2],
}
STATES = {step: TrainState(step=step, samples=8 * step) for step in (10, 20, 30)}
FILES = ("weights.safetensors", "state.safetensors", "checkpoint.json")


def open_checkpoints(directory: Path, training_id: str = TRAINING, **options: Any) -> CheckpointDir:
    description = describe_model().model_copy(update={"training_id": training_id})
    return CheckpointDir(LocalDirectory(directory), description, CLASSES, **options)


def save_steps(directory: Path, *steps: int, **options: Any) -> CheckpointDir:
    checkpoints = open_checkpoints(directory, **options)
    checkpoints.resume()
    for step in steps:
        checkpoints.save(STATES[step], {"weights/n": np.array(step), "n": np.array(step)})
    return checkpoints


def resumed_step(checkpoints: CheckpointDir) -> int | None:
    """Resume; return the step after a check that state and arrays belong together."""
    found = checkpoints.resume()
    if found is None:
        return None
    state, arrays = found
    assert state == STATES[int(arrays["n"])] == STATES[int(arrays["weights/n"])]
    return state.step


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.glob("step-*"))


def test_state_and_arrays_are_restored(tmp_path):
    state = TrainState(
        step=3,
        samples=24,
        seconds=1.5,
        loss=0.25,
        best_step=2,
        best_metrics={"ap": 0.5},
        best_weights={"weight": np.ones(3, np.float32)},
    )
    checkpoints = open_checkpoints(tmp_path / "new")
    assert checkpoints.resume() is None
    checkpoints.save(state, ARRAYS)
    found = open_checkpoints(tmp_path / "new").resume()
    assert found is not None
    loaded, arrays = found
    assert loaded.model_dump() == state.model_dump()
    assert np.array_equal(loaded.best_weights["weight"], np.ones(3, np.float32))
    assert arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert (arrays[name].dtype, arrays[name].shape) == (array.dtype, array.shape)
        assert np.array_equal(arrays[name], array)
        assert arrays[name].flags.writeable


def test_the_newest_are_kept(tmp_path):
    save_steps(tmp_path / "two", 10, 20, 30)
    assert names(tmp_path / "two") == ["step-00000020", "step-00000030"]
    save_steps(tmp_path / "all", 10, 20, 30, keep=3)
    assert len(names(tmp_path / "all")) == 3


def test_a_checkpoint_stays_as_long_as_it_is_asked_to(tmp_path):
    save_steps(tmp_path, 10, 20)
    for step, staying, expected in ((30, {10}, [10, 20, 30]), (40, set(), [30, 40])):
        save_steps(tmp_path).save(TrainState(step=step), {}, staying.__contains__)
        assert names(tmp_path) == [f"step-{kept:08}" for kept in expected]


def test_a_damaged_newer_one_does_not_replace_a_good_one(tmp_path):
    save_steps(tmp_path, 10, 30)
    (tmp_path / "step-00000030" / "state.safetensors").write_bytes(b"")
    checkpoints = open_checkpoints(tmp_path)
    assert resumed_step(checkpoints) == 10
    checkpoints.save(STATES[20], ARRAYS)
    assert names(tmp_path) == ["step-00000010", "step-00000020"]


def truncate(content: bytes) -> Iterator[bytes]:
    """Yield every proper prefix; the last byte of the JSON is its line end."""
    return (content[:length] for length in range(len(content) - 1))


def flip(content: bytes) -> Iterator[bytes]:
    """Yield the content with a flipped bit in every byte."""
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 1 << position % 8
        yield bytes(damaged)


@pytest.mark.parametrize("damage", [truncate, flip])
@pytest.mark.parametrize("name", FILES)
def test_all_damage_falls_back(tmp_path, name, damage, caplog):
    """Except for a flipped bit in the commit's layout, which changes nothing."""
    checkpoints = save_steps(tmp_path, 10, 20)
    path = tmp_path / "step-00000020" / name
    for content in damage(path.read_bytes()):
        path.write_bytes(content)
        caplog.clear()
        step = resumed_step(checkpoints)
        assert step == 10 or (step == 20 and name == "checkpoint.json" and damage is flip)
        assert ("falling back" in caplog.text) == (step == 10)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_falls_back(tmp_path, name):
    checkpoints = save_steps(tmp_path, 10, 20)
    (tmp_path / "step-00000020" / name).unlink()
    assert resumed_step(checkpoints) == 10


def test_training_starts_again_if_all_are_damaged(tmp_path, caplog):
    checkpoints = save_steps(tmp_path, 10, 20)
    for path in tmp_path.glob("step-*/state.safetensors"):
        path.write_bytes(path.read_bytes()[:-1])
    assert checkpoints.resume() is None
    assert len(caplog.records) == 2


def test_the_checkpoint_of_another_training_is_skipped(tmp_path, caplog):
    save_steps(tmp_path, 10)
    assert open_checkpoints(tmp_path, "other").resume() is None
    assert f"belongs to training {TRAINING}" in caplog.text


def test_a_longer_training_continues_that_of_another_id(tmp_path):
    save_steps(tmp_path, 10)
    for continued in (True, False):
        longer = open_checkpoints(tmp_path, "longer", continues=[TRAINING])
        assert resumed_step(longer) == (10 if continued else 20)
        assert longer.is_continued == continued
        longer.save(STATES[20], {"weights/n": np.array(20), "n": np.array(20)})


def test_a_fresh_start_removes_all_checkpoints_but_no_attempt(tmp_path):
    older = save_steps(tmp_path, 10, 20)
    assert open_checkpoints(tmp_path, continues=None).resume() is None
    assert names(tmp_path) == []
    with pytest.raises(TransientError, match="attempt 2 .* attempt 1 stops"):
        older.check_newest()


def test_the_newer_attempt_wins(tmp_path):
    older = save_steps(tmp_path, 10)
    newer = save_steps(tmp_path, 20)
    with pytest.raises(TransientError, match="attempt 2 .* attempt 1 stops"):
        older.save(STATES[30], ARRAYS)
    assert names(tmp_path) == ["step-00000010", "step-00000020"]
    newer.check_newest()


def test_of_many_attempts_at_once_exactly_one_may_write(tmp_path):
    program = (
        "import sys; from pathlib import Path; from ssd_core.store import LocalDirectory\n"
        "from ssd_core.training.checkpoints import CheckpointDir\n"
        "from tests.small_model import CLASSES, describe_model\n"
        "sys.stdin.readline()\n"
        "directory = LocalDirectory(Path(sys.argv[1]))\n"
        "checkpoints = CheckpointDir(directory, describe_model(), CLASSES)\n"
        "checkpoints.resume()\n"
        "print('ready', flush=True)\n"
        "sys.stdin.read()\n"
        "checkpoints.check_newest()\n"
    )
    words, pipe = [sys.executable, "-c", program, str(tmp_path)], subprocess.PIPE
    attempts = [
        subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL)
        for _ in range(4)
    ]
    for process in attempts:
        process.stdin.write(b"\n")
        process.stdin.flush()
    assert [process.stdout.readline() for process in attempts] == [b"ready\n"] * 4
    for process in attempts:
        process.communicate()
    assert sorted(process.returncode for process in attempts) == [0, 1, 1, 1]
