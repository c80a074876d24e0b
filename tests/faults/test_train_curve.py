"""Losses and accuracy on one rank and on two: the same, up to the order of sums."""

import json
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

TRAINED = {"steps": 40, "batch_size": 4, "log_interval": 10, "evaluate_every": 20}
"""As `trained_dir`, which one rank has trained."""
NOISE = 0.05
"""Largest difference of AP. After these steps one rank had 0.182 and two had 0.202: the norms of
the demo amplify the last digit."""

pytestmark = pytest.mark.usefixtures("code_dir")


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


def test_two_ranks_have_the_accuracy_of_one(
    trained_dir: Path, bccd_shards: Path, tmp_path: Path
) -> None:
    code, errors = run(train_command(TRAINED, bccd_shards, tmp_path, "--num-devices", "2"))
    assert code == 0, errors
    theirs, ours = (
        json.loads((path / "results.json").read_text()) for path in (trained_dir, tmp_path)
    )
    assert ours["model"]["training_id"] == theirs["model"]["training_id"]
    assert min(each["metrics"]["ap"] for each in (ours, theirs)) > NOISE
    assert ours["metrics"]["ap"] == pytest.approx(theirs["metrics"]["ap"], abs=NOISE)
