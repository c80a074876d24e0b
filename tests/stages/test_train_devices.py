"""Training on the devices of one machine, here processes on its CPU."""

import json
from pathlib import Path
from typing import Any

import pytest

from ssd_core.errors import SsdError, UsageError
from ssd_core.recipes import load_recipe
from ssd_core.stages import train_devices
from ssd_core.store import LocalDirectory

ON_CPU = {"recipe": "demo", "framework": "torch", "device": "cpu"}


@pytest.fixture(scope="module")
def config() -> dict[str, Any]:
    section = load_recipe("demo").train.model_dump(mode="json", exclude_none=True)
    return section | {"steps": 2, "batch_size": 4}


def world_sizes(out_dir: Path) -> list[int]:
    """Return the number of processes at every begin of a training."""
    lines = map(json.loads, (out_dir / "train_log.jsonl").read_text().splitlines())
    return [line["world_size"] for line in lines if "world_size" in line]


def test_a_process_for_each_device(
    bccd_shards: Path, config: dict[str, Any], tmp_path: Path
) -> None:
    result = train_devices.run(
        config, LocalDirectory(bccd_shards), LocalDirectory(tmp_path), num_devices=2, **ON_CPU
    )
    assert (result.metadata["steps"], world_sizes(tmp_path)) == (2, [2])
    assert (tmp_path / "model" / "config.json").is_file()
    # Finished, it returns at once, also on a number of devices that could not have done it.
    assert (
        train_devices.run(
            config, LocalDirectory(bccd_shards), LocalDirectory(tmp_path), num_devices=3, **ON_CPU
        )
        == result
    )
    assert world_sizes(tmp_path) == [2]


def test_one_device_needs_no_process(
    bccd_shards: Path, config: dict[str, Any], tmp_path: Path
) -> None:
    train_devices.run(
        config, LocalDirectory(bccd_shards), LocalDirectory(tmp_path), num_devices=1, **ON_CPU
    )
    assert world_sizes(tmp_path) == [1]


def test_a_batch_that_does_not_divide(
    bccd_shards: Path, config: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="batch_size 4 does not divide over 3 devices"):
        train_devices.run(
            config,
            LocalDirectory(bccd_shards),
            LocalDirectory(tmp_path / "out"),
            num_devices=3,
            **ON_CPU,
        )
    assert not (tmp_path / "out").exists()


def test_it_ends_as_the_process_that_failed(
    bccd_shards: Path, config: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    on_none = ON_CPU | {"device": "tpu"}
    with pytest.raises(SsdError, match="its own line says why") as failed:
        train_devices.run(
            config, LocalDirectory(bccd_shards), LocalDirectory(tmp_path), num_devices=2, **on_none
        )
    assert failed.value.exit_code == 2
    assert "error: unknown device 'tpu'" in capfd.readouterr().err
