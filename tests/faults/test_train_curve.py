"""The losses of SSD300 with VGG16 on one rank and on two: one curve, up to the order of sums."""

from pathlib import Path

import pytest

from tests.faults.training_process import run, train_command
from tests.train_logs import read_log

SETTINGS = {
    "batch_size": 2,
    "steps": 2,
    "log_interval": 1,
    "precision": "fp32",
    "optimizer.learning_rate": 0.001,
    "schedule.warmup": 0,
    "evaluate_every": "null",
}
TOLERANCE = 1e-4
"""Relative difference of a loss. The network has no norms, which would amplify the last digit."""


@pytest.mark.usefixtures("code_dir")
def test_two_ranks_have_the_losses_of_one(bccd_shards: Path, tmp_path: Path) -> None:
    curves = []
    for ranks in ("1", "2"):
        more = ("--recipe", "ssd300_vgg16", "--num-devices", ranks)
        code, errors = run(train_command(SETTINGS, bccd_shards, tmp_path / ranks, *more))
        assert code == 0, errors
        lines = read_log(tmp_path / ranks / "train_log.jsonl")
        curves.append([line["loss"] for line in lines if line["event"] == "step"])
    assert curves[1] == pytest.approx(curves[0], rel=TOLERANCE)
    assert len(set(curves[0])) == 2
