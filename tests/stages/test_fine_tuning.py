"""A detector of some classes becomes one of others."""

import json
from pathlib import Path

import pytest

from ssd_core.errors import OwnershipError
from ssd_core.model_dir import read_model
from ssd_core.recipes import load_recipe
from ssd_core.recipes.overrides import override
from ssd_core.stages import train
from ssd_core.store import LocalDirectory
from tests.datasets import convert_into
from tests.train_logs import read_log

SMALL = ("model.image_size=128", "batch_size=4", "log_interval=1", "schedule.warmup=0")


def make_training(data_dir: Path, *changes: str) -> train.Training:
    recipe = override(load_recipe("demo"), [f"train.{each}" for each in (*SMALL, *changes)])
    return train.Training(recipe=recipe, data_dir=LocalDirectory(data_dir), device="cpu")


def losses(out_dir: Path) -> list[float]:
    return [each["loss"] for each in read_log(out_dir / "train_log.jsonl") if "loss" in each]


def test_a_detector_of_some_classes_becomes_one_of_others(few_images: Path, tmp_path: Path) -> None:
    for name, classes in {"old": ["RBC", "Platelets"], "new": ["WBC", "RBC"]}.items():
        convert_into(tmp_path / name, {"classes": classes}, few_images)
    runs = {
        "base": make_training(tmp_path / "old", "steps=16"),
        "tuned": make_training(tmp_path / "new", "steps=3", f"init.source={tmp_path / 'base'}"),
        "scratch": make_training(tmp_path / "new", "steps=3"),
    }
    for name, training in runs.items():
        train.run(training, LocalDirectory(tmp_path / name))
    assert losses(tmp_path / "tuned")[0] < 0.7 * losses(tmp_path / "scratch")[0]

    [start, *_] = read_log(tmp_path / "tuned" / "train_log.jsonl")
    model = read_model(LocalDirectory(tmp_path / "base"))
    assert start["init"]["classes"] == ["RBC"]
    assert start["init"]["loaded"] == sorted(model.weights)
    assert start["init"]["sha256"] == model.description.file("weights.safetensors").sha256
    assert json.loads((tmp_path / "tuned/results.json").read_text())["init"] == start["init"]
    assert json.loads((tmp_path / "scratch/results.json").read_text())["init"] is None
    with pytest.raises(OwnershipError, match="differences: init differs$"):
        train.run(runs["scratch"], LocalDirectory(tmp_path / "tuned"))
