"""Fetching an existing model."""

import shutil

import pytest

from ssd_core.errors import DataError
from ssd_core.model_dir import CLASSES_FILE, WEIGHTS_FILE, read_model
from ssd_core.stages import fetch_model
from ssd_core.store import LocalDirectory
from tests.damage import flip_bit


@pytest.mark.parametrize("inside", ["", "model"])
def test_a_model_is_copied_with_its_description(trained_dir, tmp_path, inside):
    source, copy = LocalDirectory(trained_dir / inside), tmp_path / "copy"
    description = read_model(LocalDirectory(trained_dir)).description
    result = fetch_model.run(source, copy)
    weights, classes = copy / WEIGHTS_FILE, copy / CLASSES_FILE
    before = weights.stat().st_mtime_ns
    classes.write_text("damaged")
    assert fetch_model.run(source, copy) == result
    assert weights.stat().st_mtime_ns == before  # intact files are not copied again
    assert read_model(LocalDirectory(copy)).description == description
    assert result.metadata["recipe"] == "demo"
    assert result.metadata["digest"] == description.file(WEIGHTS_FILE).sha256
    assert {type(value) for value in result.metadata.values()} == {str}


def test_a_damaged_model_is_refused(trained_dir, tmp_path):
    shutil.copytree(trained_dir / "model", tmp_path / "damaged")
    flip_bit(tmp_path / "damaged" / WEIGHTS_FILE)
    with pytest.raises(DataError, match=WEIGHTS_FILE):
        fetch_model.run(LocalDirectory(tmp_path / "damaged"), tmp_path / "copy")
