"""The commands on an NPU that a processor stands in for: no kernel of an NPU runs here."""

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest

from tests.commands import call_ssd
from tests.processes import run_ssd
from tests.train_logs import read_log

Run = Callable[..., "CompletedProcess[str]"]
STAND_IN = "from ssd_core.backends.torch.standin import register; npu = register('npu')"
SMALL = ("model.image_size=64", "batch_size=2", "steps=3", "log_interval=1", "precision=bf16")


def install_torch_npu(monkeypatch: pytest.MonkeyPatch, site_dir: Path, code: str) -> None:
    """Make `code` the package torch_npu of the commands that follow."""
    (site_dir / "torch_npu.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(site_dir))


def run_checked(*arguments: str | Path, run: Run = run_ssd) -> None:
    done = run(*arguments)
    assert done.returncode == 0, done.stderr


def test_training_and_detection_equal_those_of_the_processor(
    bccd_shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In bf16, with the optimizer of the demo, AdamW, in its form for accelerators."""
    install_torch_npu(monkeypatch, tmp_path, STAND_IN)
    settings = [f"--set=train.{change}" for change in SMALL]
    model_dir = tmp_path / "cpu"
    runs: dict[str, Run] = {"cpu": call_ssd, "npu": run_ssd}
    for device, run in runs.items():
        out_dir = tmp_path / device
        common = ("--data", bccd_shards, "--device", device)
        words = (*common, "--recipe", "demo", *settings, "--out", out_dir)
        run_checked("train", *words, run=run)
        words = (*common, "--model", model_dir, "--out", out_dir / "evaluation")
        run_checked("evaluate", *words, run=run)
    losses, scores = [], []
    for device in ("cpu", "npu"):
        records = read_log(tmp_path / device / "train_log.jsonl")
        losses.append([record["loss"] for record in records if "loss" in record])
        detections = tmp_path / device / "evaluation" / "detections.json"
        scores.append([found["score"] for found in json.loads(detections.read_text())])
    assert losses[1] == pytest.approx(losses[0], rel=1e-2)
    assert len(losses[0]) == 3
    np.testing.assert_allclose(*scores, atol=1e-2)


FULL = """
import torch
from ssd_core.backends.torch import standin

def refuse_large_batches(operator, args, kwargs, result):
    if isinstance(result, torch.Tensor) and result.shape[1:] == (3, 64, 64) and len(result) > MOST:
        raise torch.OutOfMemoryError

npu = standin.register("npu", record=refuse_large_batches)
"""
"""A device with memory for batches of at most MOST images."""


def test_the_largest_batch_that_fits_is_found_once(
    bccd_shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = ("model.image_size=64", "precision=fp32", "evaluate_every=null")
    words = ["train", "--data", bccd_shards, "--recipe", "demo", "--batch-size", "auto"]
    words += [*(f"--set=train.{each}" for each in changes), "--scale-lr"]
    install_torch_npu(monkeypatch, tmp_path, FULL.replace("MOST", "5"))
    out = ("--device", "npu", "--out", tmp_path / "out")
    done = run_ssd(*words, *out, "--set=train.steps=1")
    assert done.returncode == 0, done.stderr
    assert "the largest batch that fits has 5 images" in done.stderr
    assert "a step takes 5 images at a learning rate of 0.005 (in proportion to " in done.stderr
    install_torch_npu(monkeypatch, tmp_path, FULL.replace("MOST", "9"))
    done = run_ssd(*words, *out, "--set=train.steps=2", "--extend")
    assert done.returncode == 0, done.stderr

    def batch_sizes() -> list[int]:
        lines = read_log(tmp_path / "out" / "train_log.jsonl")
        return [line["batch_size"] for line in lines if "images" in line]

    assert batch_sizes() == [5, 5]
    for limit in ("9", "5"):  # the second time it continues what it has begun
        install_torch_npu(monkeypatch, tmp_path, FULL.replace("MOST", limit))
        run_checked(*words, *out, "--set=train.steps=1", "--resume=fresh")
        assert batch_sizes() == [9]
    done = call_ssd(*words, "--device", "cpu", "--out", tmp_path / "other", "--quiet")
    assert done.returncode == 2
    assert done.stderr.startswith("error: --batch-size auto needs the memory of a GPU or NPU")
    assert done.stderr.count("\n") == 1


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
