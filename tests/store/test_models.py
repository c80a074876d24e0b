"""Checkpoints, models and the outputs of all stages in a store."""

import json
from pathlib import Path

import numpy as np
import pytest

from ssd_core import load_detector
from ssd_core.cli.app import app
from ssd_core.config import ConvertConfig, EvaluateConfig
from ssd_core.data.conversion.publish import publish_dataset
from ssd_core.errors import DivergedError, UsageError
from ssd_core.model_dir import CONFIG_FILE, read_description, read_model
from ssd_core.recipes import load_recipe
from ssd_core.recipes.overrides import override
from ssd_core.stages import convert, evaluate, train
from ssd_core.store import LocalDirectory, Location
from ssd_core.store.transfer import MirroredFile, upload_directory
from ssd_core.training.checkpoints import CheckpointDir, TrainState
from tests.small_model import CLASSES, describe_model
from tests.store.conftest import keys

QUICK = ("--set", "benchmark.seconds=0.01", "--set", "benchmark.batch_sizes=[1]")
ARRAYS = {
    "weights/weight": np.arange(12, dtype=np.float32).reshape(3, 4),
    "empty": np.zeros((0, 3)),
}


def save_steps(location: Location, *steps: int) -> CheckpointDir:
    checkpoints = CheckpointDir(location, describe_model(), CLASSES)
    checkpoints.resume()
    for step in steps:
        checkpoints.save(TrainState(step=step, samples=8 * step), ARRAYS | {"n": np.array(step)})
    return checkpoints


def step_of(location: Location) -> tuple[int, int]:
    """Return the steps of the state and of the arrays with which an attempt would continue."""
    found = CheckpointDir(location, describe_model(), CLASSES).resume()
    assert found is not None
    assert np.array_equal(found[1]["weights/weight"], ARRAYS["weights/weight"])
    return found[0].step, int(found[1]["n"])


def test_two_checkpoints_are_kept_and_a_damaged_one_falls_back(location: Location) -> None:
    checkpoints = save_steps(location, 10, 20, 30)
    assert checkpoints.last_dir == location / "step-00000030"
    assert {key.partition("/")[0] for key in keys(location) if key.startswith("step-")} == {
        "step-00000020",
        "step-00000030",
    }
    assert step_of(location) == (30, 30)
    location.put("step-00000030/state.safetensors", b"damaged")
    assert step_of(location) == (20, 20)


def test_the_log_is_stored_before_the_checkpoint(location: Location, tmp_path: Path) -> None:
    log = MirroredFile(tmp_path / "train_log.jsonl", location)
    log.path.write_text("to step 10\n")
    save_steps(location / "checkpoints", 10)
    assert location.head("train_log.jsonl") is None
    checkpoints = CheckpointDir(location / "checkpoints", describe_model(), CLASSES, log=log)
    checkpoints.resume()
    assert not log.path.exists()  # it was never published
    log.path.write_text("to step 20\n")
    checkpoints.save(TrainState(step=20), ARRAYS)
    log.path.write_text("to step 20\nto step 22\n")
    CheckpointDir(location / "checkpoints", describe_model(), CLASSES, log=log).resume()
    assert log.path.read_text() == "to step 20\n"


@pytest.mark.parametrize("inside", ["", "model"])
def test_a_model_in_a_store_is_the_same_model(
    location: Location, trained_dir: Path, inside: str
) -> None:
    upload_directory(trained_dir / "model", location / "model", last=CONFIG_FILE)
    model_dir = location / inside
    ours, theirs = read_model(model_dir), read_model(LocalDirectory(trained_dir))
    assert ours.description == theirs.description == read_description(model_dir)
    assert ours.classes == theirs.classes
    assert all(np.array_equal(ours.weights[name], theirs.weights[name]) for name in theirs.weights)


def test_a_diverged_training_leaves_its_log(location: Location, bccd_shards: Path) -> None:
    changes = ["model.image_size=64", "batch_size=2", "steps=8", "log_interval=1"]
    changes += ["optimizer.learning_rate=1e30", "schedule.warmup=0"]
    recipe = override(load_recipe("demo"), [f"train.{change}" for change in changes])
    training = train.Training(recipe=recipe, data_dir=LocalDirectory(bccd_shards), device="cpu")
    with pytest.raises(DivergedError, match="last good checkpoint: none"):
        train.run(training, location)
    log = location.get("train_log.jsonl").decode()
    assert [json.loads(line)["event"] for line in log.splitlines()][:2] == ["start", "step"]
    assert location.head("invocation.json") is not None
    assert location.head("results.json") is None


def test_evaluation_does_not_depend_on_the_locations(
    location: Location, trained_dir: Path, bccd_shards: Path, tmp_path: Path
) -> None:
    upload_directory(trained_dir / "model", location / "trained/model", last=CONFIG_FILE)
    publish_dataset(bccd_shards, location / "shards")
    there, here = location / "there", LocalDirectory(tmp_path / "here")
    for root, model_dir, data_dir in (
        (there, location / "trained", location / "shards"),
        (here, LocalDirectory(trained_dir), LocalDirectory(bccd_shards)),
    ):
        evaluate.run(EvaluateConfig(), model_dir, data_dir, root, device="cpu")
    found, expected = (json.loads(each.get("results.json")) for each in (there, here))
    assert found["metrics"] == expected["metrics"]
    assert found["classes"] == expected["classes"]
    assert there.get("detections.json") == here.get("detections.json")
    inputs = json.loads(there.get("invocation.json"))["inputs"]
    assert inputs["model"]["uri"] == f"{location}/trained"
    assert inputs["dataset"]["uri"] == f"{location}/shards"


def test_every_directory_may_be_in_a_store(
    location: Location, few_images: Path, trained_dir: Path
) -> None:
    root = location
    convert.run(ConvertConfig(), str(few_images), root / "shards")
    upload_directory(trained_dir, root / "trained", last="results.json")
    model, data = ("--model", root / "trained"), ("--data", root / "shards")
    outputs = [root / name for name in ("trained", "evaluation", "speed")]
    for command in (
        ("evaluate", *model, *data, "--out", outputs[1], "--device", "cpu"),
        ("benchmark", *model, *data, "--out", outputs[2], "--device", "cpu", *QUICK),
        ("report", *outputs, "--out", root / "report"),
        ("compare", outputs[1], outputs[1], "--out", root / "comparison"),
        ("publish", *outputs, "--name", "cells", "--version", "1", "--out", root),
        ("export", root / "trained", "--format", "torchscript", "--out", root / "exported/a.pt"),
    ):
        app([*map(str, command)], standalone_mode=False)
    photos = root / "photos"
    for path in sorted((few_images / "JPEGImages").iterdir())[:2]:
        photos.put(f"deep/{path.name}", path)
    photos.put("notes.txt", b"")
    single = f"{photos}/deep/{path.name}"
    found = photos / "found"  # a second run finds the pictures of the first one there
    for images, count in ((str(photos), 2), (str(photos), 2), (single, 1)):
        words = ["predict", *map(str, model), images, "--out", str(found), "--device", "cpu"]
        app([*words], standalone_mode=False)
        lines = found.get("predictions.jsonl").splitlines()
        assert len(lines) == count
        assert json.loads(lines[-1])["image"] == single
    detector = load_detector(str(root / "trained"), device="cpu")
    assert detector(single).to_dict()["detections"] == json.loads(lines[-1])["detections"]
    words[3] = f"{found}/{json.loads(lines[-1])['picture']}"
    with pytest.raises(UsageError, match="would be overwritten"):
        app(words, standalone_mode=False)
    published: Location = root / "models" / "cells" / "1"
    assert {"results.json", "report.html", "report.md"} <= keys(root / "report")
    assert {"results.json", "compare.html"} <= keys(root / "comparison")
    assert {"a.pt", "a.pt.json", "results.json"} <= keys(root / "exported")
    page = (root / "report").get("report.html").decode()
    assert "Images with most errors" in page
    assert "Training" in page
    assert read_model(published).description == read_model(LocalDirectory(trained_dir)).description
