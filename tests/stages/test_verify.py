"""Verification of data sets and models as a user meets it."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ssd_core.errors import DataError, UsageError
from ssd_core.stages import verify
from ssd_core.store import LocalDirectory
from tests.small_model import write_small_model

SSD = Path(sys.executable).with_name("ssd")


@pytest.fixture
def root(bccd_shards: Path, tmp_path: Path) -> Path:
    """Return a root with one data set and one model."""
    shutil.copytree(bccd_shards, tmp_path / "root/datasets/one")
    weights = {"head.weight": np.arange(1000, dtype=np.float32)}
    write_small_model(tmp_path / "root/training/two/model", weights)
    return tmp_path / "root"


def change(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def test_all_is_right(root: Path) -> None:
    places = [root / "datasets/one", root / "training/two/model"]
    assert list(verify.run(LocalDirectory(root))) == [(place, []) for place in places]
    assert [
        verified.place for place in places for verified in verify.run(LocalDirectory(place))
    ] == places


def test_each_wrong_file_is_named(root: Path) -> None:
    change(root / "datasets/one/train-00000.arrow")
    (root / "datasets/one/val-00000.arrow").unlink()
    (root / "training/two/model/weights.safetensors").unlink()
    dataset, model = verify.run(LocalDirectory(root))
    shards, model_dir = root / "datasets/one", root / "training/two/model"
    assert dataset.faults[0].startswith(f"{shards}/train-00000.arrow is damaged: sha256 ")
    assert dataset.faults[1:] == [f"{shards}/val-00000.arrow is missing"]
    assert model.faults == [f"{model_dir}/weights.safetensors is missing"]


def test_a_wrong_size_is_told_without_reading(root: Path) -> None:
    (root / "training/two/model/classes.json").write_text("[]")
    _, model = verify.run(LocalDirectory(root))
    assert model.faults[0].endswith("classes.json is damaged: 2 bytes, expected 69")


def test_a_manifest_that_cannot_be_read_is_a_fault(root: Path) -> None:
    (root / "datasets/one/manifest.json").write_text("{")
    assert "is not JSON" in next(verify.run(LocalDirectory(root))).faults[0]


def test_nothing_to_verify(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds neither a converted data set nor a model"):
        list(verify.run(LocalDirectory(tmp_path)))
    with pytest.raises(UsageError, match="nowhere: no such directory"):
        list(verify.run(LocalDirectory(tmp_path / "nowhere")))


def test_the_command(root: Path) -> None:
    done = subprocess.run([SSD, "verify", root], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("all is right") == 2
    change(root / "datasets/one/val-00000.arrow")
    done = subprocess.run([SSD, "verify", root], capture_output=True, text=True)
    assert done.returncode == 3
    assert f"{root}/datasets/one/val-00000.arrow is damaged: sha256" in done.stdout
    assert "error: " in done.stderr
    assert f"{root} is damaged in 1 place, listed above" in done.stderr
