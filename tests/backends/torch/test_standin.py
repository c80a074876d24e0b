"""The commands on an NPU that a processor stands in for: no kernel of an NPU runs here."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.processes import run_ssd
from tests.train_logs import read_log

STAND_IN = "from ssd_core.backends.torch.standin import register; npu = register('npu')"
SMALL = ("model.image_size=64", "batch_size=2", "steps=3", "log_interval=1", "precision=bf16")


def install_torch_npu(monkeypatch: pytest.MonkeyPatch, site_dir: Path, code: str) -> None:
    """Make `code` the package torch_npu of the commands that follow."""
    (site_dir / "torch_npu.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(site_dir))


def run_checked(*arguments: str | Path) -> None:
    done = run_ssd(*arguments)
    assert done.returncode == 0, done.stderr


def test_training_and_detection_equal_those_of_the_processor(
    bccd_shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In bf16, with the optimizer of the demo, AdamW, in its form for accelerators."""
    install_torch_npu(monkeypatch, tmp_path, STAND_IN)
    settings = [f"--set=train.{change}" for change in SMALL]
    model_dir = tmp_path / "cpu"
    for device in ("cpu", "npu"):
        out_dir = tmp_path / device
        common = ("--data", bccd_shards, "--device", device)
        run_checked("train", *common, "--recipe", "demo", *settings, "--out", out_dir)
        run_checked("evaluate", *common, "--model", model_dir, "--out", out_dir / "evaluation")
    losses, scores = [], []
    for device in ("cpu", "npu"):
        records = read_log(tmp_path / device / "train_log.jsonl")
        losses.append([record["loss"] for record in records if "loss" in record])
        detections = tmp_path / device / "evaluation" / "detections.json"
        scores.append([found["score"] for found in json.loads(detections.read_text())])
    assert losses[1] == pytest.approx(losses[0], rel=1e-2)
    assert len(losses[0]) == 3
    np.testing.assert_allclose(*scores, atol=1e-2)


def test_a_package_that_cannot_start_is_one_line(
    bccd_shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_torch_npu(monkeypatch, tmp_path, "raise ImportError('libascendcl.so: no such file')")
    arguments = ("--data", bccd_shards, "--recipe", "demo", "--out", tmp_path / "out")
    done = run_ssd("train", "--device", "npu", *arguments)
    assert (done.returncode, done.stderr) == (
        2,
        "error: device 'npu' is not available: torch_npu cannot start, libascendcl.so: no such "
        "file; use --device cpu or auto\n",
    )
