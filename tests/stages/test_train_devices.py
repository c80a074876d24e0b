"""Training on the devices of one machine, here processes on its CPU."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from ssd_core.errors import SsdError, UsageError
from ssd_core.recipes import load_recipe
from ssd_core.recipes.overrides import override
from ssd_core.stages import train
from ssd_core.stages.train import Training
from ssd_core.store import LocalDirectory


@pytest.fixture
def training(bccd_shards: Path) -> Training:
    recipe = override(load_recipe("demo"), ["train.steps=2", "train.batch_size=4"])
    return Training(recipe=recipe, data_dir=LocalDirectory(bccd_shards), device="cpu")


def world_sizes(out_dir: Path) -> list[int]:
    """Return the number of processes at each start of the training."""
    lines = map(json.loads, (out_dir / "train_log.jsonl").read_text().splitlines())
    return [line["world_size"] for line in lines if "world_size" in line]


def test_one_process_per_device(training: Training, tmp_path: Path) -> None:
    out_dir = LocalDirectory(tmp_path)
    result = train.run_on_devices(training, out_dir, num_devices=2)
    assert (result.metadata["steps"], world_sizes(tmp_path)) == (2, [2])
    assert (tmp_path / "model" / "config.json").is_file()
    # A finished training returns immediately, even for devices that do not divide the batch.
    assert train.run_on_devices(training, out_dir, num_devices=3) == result
    assert world_sizes(tmp_path) == [2]


def test_one_device_uses_this_process(training: Training, tmp_path: Path) -> None:
    train.run_on_devices(training, LocalDirectory(tmp_path), num_devices=1)
    assert world_sizes(tmp_path) == [1]


def test_a_batch_that_does_not_divide_is_refused(training: Training, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="batch_size 4 does not divide over 3 devices"):
        train.run_on_devices(training, LocalDirectory(tmp_path / "out"), num_devices=3)
    assert not (tmp_path / "out").exists()


def test_the_exit_code_of_a_failed_process_is_kept(
    training: Training, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    unknown = replace(training, device="tpu")
    with pytest.raises(SsdError, match="see its error above") as failed:
        train.run_on_devices(unknown, LocalDirectory(tmp_path), num_devices=2)
    assert failed.value.exit_code == 2
    assert "error: unknown device 'tpu'" in capfd.readouterr().err
