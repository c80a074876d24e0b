"""Verification of data sets and models as a user meets it."""

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ssd_core.errors import UsageError
from ssd_core.stages import verify
from ssd_core.stages.frame import Invocation, run_stage
from ssd_core.store import LocalDirectory
from tests.commands import call_ssd
from tests.damage import flip_bit
from tests.small_model import write_small_model


@pytest.fixture
def root(bccd_shards: Path, tmp_path: Path) -> Path:
    """Return a root with one data set and one model."""
    shutil.copytree(bccd_shards, tmp_path / "root/datasets/one")
    weights = {"head.weight": np.arange(1000, dtype=np.float32)}
    write_small_model(tmp_path / "root/training/two/model", weights)
    return tmp_path / "root"


@pytest.mark.parametrize("below", ["", "datasets/one", "training/two/model"])
def test_undamaged_data_sets_and_models_have_no_faults(root: Path, below: str) -> None:
    every = [LocalDirectory(root / path) for path in ("datasets/one", "training/two/model")]
    expected = [LocalDirectory(root / below)] if below else every
    assert list(verify.run(LocalDirectory(root / below))) == [(each, []) for each in expected]


def test_each_damaged_file_is_named(root: Path) -> None:
    flip_bit(root / "datasets/one/train-00000.arrow")
    (root / "datasets/one/val-00000.arrow").unlink()
    for name in ("classes.json", "weights.safetensors"):
        (root / "training/two/model" / name).unlink()
    dataset, model = verify.run(LocalDirectory(root))
    shards, model_dir = root / "datasets/one", root / "training/two/model"
    assert dataset.faults[0].startswith(f"{shards}/train-00000.arrow is damaged: sha256 ")
    assert dataset.faults[1:] == [f"{shards}/val-00000.arrow is missing"]
    assert model.faults == [
        f"{model_dir}/classes.json is missing",
        f"{model_dir}/weights.safetensors is missing",
    ]


def test_a_wrong_size_is_reported_without_reading_the_file(root: Path) -> None:
    (root / "training/two/model/classes.json").write_text("[]")
    _, model = verify.run(LocalDirectory(root))
    assert model.faults[0].endswith("classes.json is damaged: 2 bytes, expected 69")


def test_an_unreadable_manifest_is_a_fault(root: Path) -> None:
    (root / "datasets/one/manifest.json").write_text("{")
    assert "is not JSON" in next(verify.run(LocalDirectory(root))).faults[0]


def test_a_folder_that_cannot_be_listed_is_an_error(root: Path) -> None:
    folder = os.open(root / "datasets", os.O_RDONLY)
    for _ in range(20):  # to a path that is longer than the system allows
        os.mkdir("x" * 250, dir_fd=folder)
        inner = os.open("x" * 250, os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = inner
    os.close(folder)
    with pytest.raises(UsageError, match=r"datasets/x+/.*: cannot read there: file name too long"):
        list(verify.run(LocalDirectory(root)))


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        ("datasets/one/manifest.json", "Platelets", "Thrombocytes"),
        ("training/two/model/config.json", '"step": 1', '"step": 2'),
    ],
)
def test_changed_descriptions_are_faults(root: Path, path: str, old: str, new: str) -> None:
    content = (root / path).read_text()
    assert old in content
    (root / path).write_text(content.replace(old, new, 1))
    dataset, model = verify.run(LocalDirectory(root))
    [fault] = dataset.faults + model.faults
    assert fault.startswith(f"{root / path} was changed: its content does not give its digest")


def write_output(out_dir: Path) -> None:
    def work(folder: Path) -> dict[str, Any]:
        (folder / "detections.json").write_text("[]")
        return {"metrics": {"ap": 0.5}}

    invocation = Invocation(stage="evaluate", config={}, inputs={})
    run_stage(invocation, LocalDirectory(out_dir), work)


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("detections.json", "detections.json is damaged: 3 bytes, expected 2"),
        ("invocation.json", "results.json belongs to another invocation.json; run the stage again"),
        ("results.json", "results.json is not JSON"),
    ],
)
def test_the_output_of_a_stage_is_compared(tmp_path: Path, name: str, fault: str) -> None:
    write_output(tmp_path)
    assert list(verify.run(LocalDirectory(tmp_path))) == [(LocalDirectory(tmp_path), [])]
    content = (tmp_path / name).read_text()
    (tmp_path / name).write_text(f"[{content}" if name != "invocation.json" else f"{content} ")
    [(_, [found])] = verify.run(LocalDirectory(tmp_path))
    assert found.startswith(f"{tmp_path}/{fault}")


def test_the_command(root: Path) -> None:
    done = call_ssd("verify", root)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("intact") == 2
    flip_bit(root / "datasets/one/val-00000.arrow")
    done = call_ssd("verify", root)
    assert done.returncode == 3
    assert f"{root}/datasets/one/val-00000.arrow is damaged: sha256" in done.stdout
    assert "error: " in done.stderr
    assert f"{root}: 1 damaged or missing file, listed above" in done.stderr
