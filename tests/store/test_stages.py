"""Every input and every output in a store, from the converted data set to the published model."""

from pathlib import Path

import pytest

from ssd_core.cli.app import app
from ssd_core.config import ConvertConfig
from ssd_core.model_dir import read_model
from ssd_core.stages import convert
from ssd_core.store import LocalDirectory, Location
from ssd_core.store.transfer import upload_directory
from tests.store.conftest import keys, new_location

QUICK = ("--set", "benchmark.seconds=0.01", "--set", "benchmark.batch_sizes=[1]")


@pytest.mark.usefixtures("user_environment")
def test_every_directory_may_be_in_a_store(few_images: Path, trained_dir: Path) -> None:
    root = new_location()
    convert.run(ConvertConfig(), str(few_images), root / "shards")
    upload_directory(trained_dir, root / "trained", last="results.json")
    model, data = ("--model", root / "trained"), ("--data", root / "shards")
    outputs = [root / name for name in ("trained", "evaluation", "speed")]
    for command in (
        ("evaluate", *model, *data, "--out", outputs[1], "--device", "cpu"),
        ("benchmark", *model, *data, "--out", outputs[2], "--device", "cpu", *QUICK),
        ("report", *outputs, "--out", root / "report"),
        ("publish", *outputs, "--name", "cells", "--version", "1", "--out", root),
    ):
        app([*map(str, command)], standalone_mode=False)
    published: Location = root / "models" / "cells" / "1"
    assert {"results.json", "report.html", "summary.md"} <= keys(root / "report")
    page = (root / "report").get("report.html").decode()
    assert "Sample images" in page
    assert "Training" in page
    assert read_model(published).description == read_model(LocalDirectory(trained_dir)).description
