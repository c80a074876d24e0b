"""Bringing in a model that exists."""

import shutil

import pytest

from ssd_core.errors import DataError, UsageError
from ssd_core.model_dir import WEIGHTS_FILE, read_model
from ssd_core.stages import fetch_model
from ssd_core.store import LocalDirectory


@pytest.mark.parametrize("inside", ["", "model"])
def test_a_model_is_copied_with_what_it_is(trained_dir, tmp_path, inside):
    result = fetch_model.run(trained_dir / inside, tmp_path / "copy")
    description = read_model(LocalDirectory(trained_dir)).description
    assert read_model(LocalDirectory(tmp_path / "copy")).description == description
    assert result.metadata["recipe"] == "demo"
    assert result.metadata["digest"] == description.file(WEIGHTS_FILE).sha256
    assert {type(value) for value in result.metadata.values()} == {str}


def test_nothing_there_is_named(tmp_path):
    with pytest.raises(UsageError, match=f"{tmp_path}/nowhere: no such model directory"):
        fetch_model.run(LocalDirectory(tmp_path / "nowhere"), tmp_path / "copy")


def test_a_damaged_model_is_refused(trained_dir, tmp_path):
    model_dir = tmp_path / "damaged"
    shutil.copytree(trained_dir / "model", model_dir)
    content = bytearray((model_dir / WEIGHTS_FILE).read_bytes())
    content[-1] ^= 1
    (model_dir / WEIGHTS_FILE).write_bytes(content)
    with pytest.raises(DataError, match=WEIGHTS_FILE):
        fetch_model.run(LocalDirectory(model_dir), tmp_path / "copy")
