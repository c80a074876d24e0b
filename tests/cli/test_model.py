"""Commands about a model: recipes from files, and models with unlisted recipes."""

import json
from pathlib import Path

import yaml

from ssd_core.model_dir import read_description, read_model, write_model
from ssd_core.recipes import load_recipe
from ssd_core.store import LocalDirectory
from ssd_core.training.schedule import learning_rate
from tests.commands import call_ssd
from tests.train_logs import read_log


def test_a_printed_recipe_can_be_edited_and_trained(bccd_shards: Path, tmp_path: Path) -> None:
    printed = call_ssd("recipes", "demo", "--set", "train.steps=2").stdout
    config = tmp_path / "recipe.yaml"
    config.write_text(yaml.safe_dump(json.loads(printed)))
    arguments = ["train", "--config", config, "--batch-size", "4", "--scale-lr", "--device", "cpu"]
    done = call_ssd(*arguments, "--data", bccd_shards, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    recipe = read_description(LocalDirectory(tmp_path / "out" / "model")).recipe
    demo = load_recipe("demo").train
    optimizer = demo.optimizer.model_copy(update={"rate_batch_size": demo.batch_size})
    changes = {"steps": 2, "batch_size": 4, "optimizer": optimizer}
    train = demo.model_copy(update=changes)
    assert recipe == load_recipe("demo").model_copy(update={"train": train})
    peak = optimizer.learning_rate * 4 / demo.batch_size
    assert (
        f"a step takes 4 images at a learning rate of {peak:g} (in proportion to "
        f"{optimizer.learning_rate:g} for {demo.batch_size} images)"
    ) in done.stderr
    assert "add --scale-lr" not in done.stderr
    last = [line for line in read_log(tmp_path / "out" / "train_log.jsonl") if "loss" in line][-1]
    assert last["learning_rate"] == learning_rate(1, 2, peak, demo.schedule)


def test_another_batch_than_the_recipe_has_suggests_scaling(
    bccd_shards: Path, tmp_path: Path
) -> None:
    words = ["train", "--recipe", "demo", "--batch-size", "4", "--device", "cpu"]
    words += ["--set", "train.steps=1", "--set", "train.model.image_size=64"]
    done = call_ssd(*words, "--data", bccd_shards, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    demo = load_recipe("demo").train
    rate, size = demo.optimizer.learning_rate, demo.batch_size
    line = f"the recipe's {rate:g} is for {size} images; add --scale-lr to scale it\n"
    assert done.stderr.count(line) == 1


def test_a_model_with_an_unlisted_recipe_is_usable(
    trained_dir: Path, bccd_dir: Path, tmp_path: Path
) -> None:
    model = read_model(LocalDirectory(trained_dir))
    recipe = model.description.recipe.model_copy(update={"name": "unlisted"})
    description = model.description.model_copy(update={"recipe": recipe})
    write_model(LocalDirectory(tmp_path / "model"), description, model.classes, model.weights)
    image = bccd_dir / "JPEGImages" / "BloodImage_00002.jpg"
    arguments = ["predict", "--model", tmp_path / "model", image, "--score", "0.3"]
    done = call_ssd(*arguments, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    invocation = json.loads((tmp_path / "out" / "invocation.json").read_text())
    assert invocation["config"]["score"] == 0.3


def test_a_step_means_the_checkpoint_after_it(
    trained_dir: Path, bccd_dir: Path, tmp_path: Path
) -> None:
    image = bccd_dir / "JPEGImages" / "BloodImage_00002.jpg"
    words = ["predict", "--model", trained_dir, image, "--device", "cpu", "--out", tmp_path / "out"]
    refused = call_ssd(*words, "--step", "7")
    assert refused.returncode == 3
    assert "no checkpoint after step 7; expected one of: 20, 40" in refused.stderr
    words[2] = trained_dir / "model"
    refused = call_ssd(*words, "--step", "7")
    assert refused.returncode == 3
    assert "contains no checkpoints for --step to choose from; leave --step out" in refused.stderr
    words[2] = trained_dir
    done = call_ssd(*words, "--step", "40")
    assert done.returncode == 0, done.stderr
    invocation = json.loads((tmp_path / "out" / "invocation.json").read_text())
    assert invocation["inputs"]["model"]["uri"].endswith("/checkpoints/step-00000040")
