"""`ssd train` with virtual shards: the same bits on any number of ranks, also when it changes."""

import hashlib
from pathlib import Path

import pytest

from tests.faults.training_process import (
    assert_killed_rank_ends,
    run,
    start,
    steps_in,
    train_command,
)

SMALL = {
    "model.image_size": 64,
    "batch_size": 8,
    "micro_batch_size": 1,
    "steps": 30,
    "checkpoint_interval": 4,
}
"""The demo, whose norms take statistics over all shards, of which each has two images here."""
VGG16 = {"batch_size": 2, "virtual_shards": 2, "steps": 1, "optimizer.clip_norm": 1}

pytestmark = pytest.mark.usefixtures("code_dir")


def command(data_dir: Path, out_dir: Path, ranks: int, *more: str, **settings: object) -> list[str]:
    common = {"virtual_shards": 4, "log_interval": 1, "loader_threads": 1}
    devices = ("--num-devices", str(ranks))
    return train_command(common | settings, data_dir, out_dir, *devices, *more)


def train(words: list[str], out_dir: Path, threads: int = 1) -> str:
    """Train to the end; return the SHA-256 of the weights."""
    process = start(words, OMP_NUM_THREADS=str(threads))
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    return hashlib.sha256((out_dir / "model/weights.safetensors").read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def alone(code_dir, bccd_shards, tmp_path_factory):
    """Return the SHA-256 of an undisturbed training in one process that may use two threads."""
    out_dir = tmp_path_factory.mktemp("alone")
    return train(command(bccd_shards, out_dir, 1, **SMALL), out_dir, threads=2)


def test_killed_ranks_are_continued_by_fewer_with_the_same_bits(bccd_shards, alone, tmp_path):
    for ranks, step in ((4, 6), (2, 14)):
        assert_killed_rank_ends(command(bccd_shards, tmp_path, ranks, **SMALL), tmp_path, step)
        assert steps_in(tmp_path)[-1] < SMALL["steps"]
    assert train(command(bccd_shards, tmp_path, 1, **SMALL), tmp_path) == alone


def test_ranks_share_a_large_network_without_norms(bccd_shards, tmp_path):
    found = {
        train(command(bccd_shards, out, ranks, "--recipe", "ssd300_vgg16", **VGG16), out)
        for ranks, out in ((1, tmp_path / "1"), (2, tmp_path / "2"))
    }
    assert len(found) == 1


@pytest.mark.parametrize(
    ("ranks", "shards", "message"),
    [
        (8, 4, "train.virtual_shards 4 does not divide over 8 devices; choose a power of 2"),
        (1, 3, "virtual_shards 3 is not a power of 2 that divides batch_size 8"),
        (1, 16, "virtual_shards 16 is not a power of 2 that divides batch_size 8"),
    ],
)
def test_shards_that_do_not_divide_are_refused(bccd_shards, tmp_path, ranks, shards, message):
    out_dir = tmp_path / "out"
    words = command(bccd_shards, out_dir, ranks, **SMALL | {"virtual_shards": shards})
    code, errors = run(words)
    assert code == 2
    assert errors.count("\n") == 1
    assert message in errors
    assert not out_dir.exists()
