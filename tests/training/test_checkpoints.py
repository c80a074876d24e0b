"""Checkpoints against damage, a full disk and a second writer."""

import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ssd_core.errors import SurroundingsError
from ssd_core.store import LocalDirectory
from ssd_core.training.checkpoints import CheckpointDir, TrainState

TRAINING = "0123456789abcdef"
ARRAYS = {
    "weight": np.arange(12, dtype=np.float32).reshape(3, 4),
    "step": np.array(7.0, np.float32),
    "count": np.array([1, 2], np.int64),
    "empty": np.zeros((0, 3), np.float32),
}


def save_steps(directory: Path, *steps: int) -> CheckpointDir:
    checkpoints = CheckpointDir(LocalDirectory(directory), TRAINING)
    checkpoints.resume()
    for step in steps:
        checkpoints.save(TrainState(step=step, samples=8 * step), ARRAYS | {"n": np.array(step)})
    return checkpoints


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.glob("step-*"))


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    state = TrainState(
        step=3,
        samples=24,
        seconds=1.5,
        loss=0.25,
        best_step=2,
        best_metrics={"ap": 0.5},
        best_weights={"weight": np.ones(3, np.float32)},
    )
    checkpoints = CheckpointDir(LocalDirectory(tmp_path), TRAINING)
    checkpoints.resume()
    checkpoints.save(state, ARRAYS)
    found = CheckpointDir(LocalDirectory(tmp_path), TRAINING).resume()
    assert found is not None
    loaded, arrays = found
    assert loaded.model_dump() == state.model_dump()
    assert np.array_equal(loaded.best_weights["weight"], np.ones(3, np.float32))
    assert arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype
        assert arrays[name].shape == array.shape
        assert np.array_equal(arrays[name], array)
        assert arrays[name].flags.writeable


def test_arrays_in_any_memory_order_keep_their_values(tmp_path: Path) -> None:
    turned = np.arange(24, dtype=np.float32).reshape(2, 3, 4).transpose(2, 0, 1)
    checkpoints = CheckpointDir(LocalDirectory(tmp_path), TRAINING)
    checkpoints.resume()
    checkpoints.save(TrainState(step=1), {"a": turned, "b": turned[::2]})
    found = CheckpointDir(LocalDirectory(tmp_path), TRAINING).resume()
    assert found is not None
    assert np.array_equal(found[1]["a"], turned)
    assert np.array_equal(found[1]["b"], turned[::2])


def test_an_empty_place_has_no_checkpoint(tmp_path: Path) -> None:
    assert CheckpointDir(LocalDirectory(tmp_path / "new"), TRAINING).resume() is None


def test_the_two_newest_are_kept(tmp_path: Path) -> None:
    save_steps(tmp_path, 10, 20, 30)
    assert names(tmp_path) == ["step-00000020", "step-00000030"]


def test_a_damaged_newer_one_does_not_push_out_a_good_one(tmp_path: Path) -> None:
    save_steps(tmp_path, 10, 20)
    (tmp_path / "step-00000020" / "state.safetensors").write_bytes(b"")
    checkpoints = CheckpointDir(LocalDirectory(tmp_path), TRAINING)
    found = checkpoints.resume()
    assert found is not None
    assert found[0].step == 10
    checkpoints.save(TrainState(step=15), ARRAYS)
    assert names(tmp_path) == ["step-00000010", "step-00000015"]


@pytest.mark.parametrize("name", ["state.safetensors", "checkpoint.json"])
def test_every_truncation_falls_back(tmp_path: Path, name: str, caplog) -> None:
    checkpoints = save_steps(tmp_path, 10, 20)
    path = tmp_path / "step-00000020" / name
    content = path.read_bytes()
    for length in range(len(content) - 1):  # the last byte of the JSON is its line end
        path.write_bytes(content[:length])
        caplog.clear()
        found = checkpoints.resume()
        assert found is not None
        assert (found[0].step, int(found[1]["n"])) == (10, 10), length
        assert "falling back" in caplog.text


def test_every_flipped_bit_of_the_arrays_falls_back(tmp_path: Path) -> None:
    checkpoints = save_steps(tmp_path, 10, 20)
    path = tmp_path / "step-00000020" / "state.safetensors"
    content = path.read_bytes()
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 1 << position % 8
        path.write_bytes(damaged)
        found = checkpoints.resume()
        assert found is not None
        assert found[0].step == 10


def test_a_flipped_bit_of_the_commit_falls_back_or_changes_nothing(tmp_path: Path) -> None:
    checkpoints = save_steps(tmp_path, 10, 20)
    whole = {step: TrainState(step=step, samples=8 * step) for step in (10, 20)}
    path = tmp_path / "step-00000020" / "checkpoint.json"
    content = path.read_bytes()
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 1 << position % 8
        path.write_bytes(damaged)
        found = checkpoints.resume()
        assert found is not None
        assert found[0] == whole[int(found[1]["n"])]


@pytest.mark.parametrize("name", ["state.safetensors", "checkpoint.json"])
def test_a_missing_file_falls_back(tmp_path: Path, name: str) -> None:
    checkpoints = save_steps(tmp_path, 10, 20)
    (tmp_path / "step-00000020" / name).unlink()
    found = checkpoints.resume()
    assert found is not None
    assert found[0].step == 10


def test_when_all_are_damaged_training_starts_again(tmp_path: Path, caplog) -> None:
    checkpoints = save_steps(tmp_path, 10, 20)
    for path in tmp_path.glob("step-*/state.safetensors"):
        path.write_bytes(path.read_bytes()[:-1])
    assert checkpoints.resume() is None
    assert len(caplog.records) == 2


def test_the_checkpoint_of_another_training_is_passed_over(tmp_path: Path, caplog) -> None:
    save_steps(tmp_path, 10)
    assert CheckpointDir(LocalDirectory(tmp_path), "other").resume() is None
    assert f"belongs to training {TRAINING}" in caplog.text


def test_the_newer_attempt_wins(tmp_path: Path) -> None:
    older = save_steps(tmp_path, 10)
    newer = CheckpointDir(LocalDirectory(tmp_path), TRAINING)
    newer.resume()
    newer.save(TrainState(step=15), ARRAYS)
    with pytest.raises(SurroundingsError, match="attempt 2 .* attempt 1 stops"):
        older.save(TrainState(step=20), ARRAYS)
    assert names(tmp_path) == ["step-00000010", "step-00000015"]
    newer.check_newest()


def test_of_many_attempts_at_once_exactly_one_may_write(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from ssd_core.training.checkpoints import CheckpointDir\n"
        "sys.stdin.read()\n"
        "checkpoints = CheckpointDir(Path(sys.argv[1]), 'id')\n"
        "checkpoints.resume()\n"
        "print('ready', flush=True)\n"
        "while not (Path(sys.argv[1]) / 'all').exists(): pass\n"
        "checkpoints.check_newest()\n"
    )
    attempts = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(4)
    ]
    for process in attempts:
        process.stdin.close()
    for process in attempts:
        assert process.stdout.readline() == b"ready\n"
        process.stdout.close()
    (tmp_path / "all").touch()
    assert sorted(process.wait() for process in attempts) == [0, 1, 1, 1]


def test_a_full_disk_leaves_the_previous_checkpoint(tmp_path: Path) -> None:
    checkpoints = save_steps(tmp_path, 10)
    before = {path: path.read_bytes() for path in tmp_path.rglob("step-*/*")}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, limits[1]))
    try:
        with pytest.raises(SurroundingsError, match="disk is full"):
            checkpoints.save(TrainState(step=20), ARRAYS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    files = {path: path.read_bytes() for path in tmp_path.rglob("step-*/*") if path.is_file()}
    assert files == before
    found = CheckpointDir(LocalDirectory(tmp_path), TRAINING).resume()
    assert found is not None
    assert found[0].step == 10
