"""The train stage: short trainings of the demo's network on the bundled images.

The devices of one machine are processes on its CPU.
"""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ssd_core.backends import open_backend
from ssd_core.config import PostprocessOverrides
from ssd_core.errors import DataError, OwnershipError, SsdError, UsageError
from ssd_core.model_dir import read_description, read_model
from ssd_core.recipes import load_recipe
from ssd_core.recipes.overrides import override
from ssd_core.stages import train
from ssd_core.stages.detector import open_model
from ssd_core.store import LocalDirectory
from ssd_core.store.known_file import write_arrays
from ssd_core.training.checkpoints import find_checkpoint
from tests.datasets import change_manifest
from tests.train_logs import read_log

SMALL = ("model.image_size=64", "batch_size=2", "steps=6", "log_interval=2")


def make_training(data_dir: Path, *changes: str, device: str = "cpu") -> train.Training:
    assignments = [f"train.{change}" for change in (*SMALL, "checkpoint_interval=3", *changes)]
    recipe = override(load_recipe("demo"), [*assignments, "evaluate.batch_size=3"])
    return train.Training(recipe=recipe, data_dir=LocalDirectory(data_dir), device=device)


def run(data_dir: Path, out_dir: Path, *changes: str):
    return train.run(make_training(data_dir, *changes), LocalDirectory(out_dir))


@pytest.fixture(scope="module")
def finished_dir(bccd_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out_dir = tmp_path_factory.mktemp("finished") / "out"
    run(bccd_shards, out_dir, "evaluate_every=3")
    return out_dir


@pytest.fixture
def copy_dir(finished_dir: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished_dir, tmp_path / "copy"))


def snapshot(directory: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(directory)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in directory.rglob("*")
        if path.is_file()
    }


def test_the_directory_describes_the_training(finished_dir: Path, bccd_shards: Path) -> None:
    model = read_model(LocalDirectory(finished_dir))
    results = json.loads((finished_dir / "results.json").read_text())
    invocation = json.loads((finished_dir / "invocation.json").read_text())
    log = read_log(finished_dir / "train_log.jsonl")
    training = make_training(bccd_shards, "evaluate_every=3")

    assert [info.name for info in model.classes] == ["Platelets", "RBC", "WBC"]
    assert model.description.recipe == training.recipe
    assert model.description.training_id == training.id
    assert model.description.step == results["best_step"]
    assert results["model"] == {
        "recipe": "demo",
        "step": results["best_step"],
        "training_id": training.id,
    }
    assert (results["steps"], results["samples"]) == (6, 12)
    assert results["environment"]["device"] == "cpu"
    assert {"device_name", "precision", "processor", "python"} <= set(results["environment"])
    assert results["metrics"]["images_per_second"] == log[-1]["images_per_second"]
    assert results["warm_up_steps"] == log[-1]["warm_up_steps"] < results["steps"]
    assert invocation["stage"] == "train"
    assert invocation["config"] == training.recipe.model_dump(mode="json")
    assert invocation["inputs"]["dataset"]["digest"] == model.description.dataset_digest
    assert [line["event"] for line in log] == [
        *("start", "step", "step", "evaluation"),
        *("step", "step", "evaluation", "end"),
    ]
    best = max(line["ap"] for line in log if line["event"] == "evaluation")
    assert results["metrics"]["ap"] == best


@pytest.mark.parametrize(
    ("precision", "expected"),
    [("fp32", "fp32"), ("fp16", open_backend("torch", "cpu").info.precision)],
)
def test_a_model_of_a_half_type_detects_in_what_suits_the_device(
    bccd_shards: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, precision, expected
) -> None:
    run(bccd_shards, tmp_path, "steps=1", f"precision={precision}")
    start = read_log(tmp_path / "train_log.jsonl")[0]
    assert start["device"]["precision"] == precision
    warned = any("loses small gradients without a scale" in text for text in caplog.messages)
    assert warned == (precision == "fp16")
    model = open_model(
        LocalDirectory(tmp_path), PostprocessOverrides(), framework="torch", device="cpu"
    )
    assert model.device.precision == expected


def test_the_validation_loss_may_choose_the_model(bccd_shards: Path, tmp_path: Path) -> None:
    changes = ("evaluate_every=2", "validation_loss=true", "best_metric=val_loss")
    result = run(bccd_shards, tmp_path, *changes)
    log = read_log(tmp_path / "train_log.jsonl")
    losses = {line["step"]: line["val_loss"] for line in log if line["event"] == "evaluation"}
    assert len(set(losses.values())) == 3
    assert result.metrics["val_loss"] == min(losses.values())
    assert losses[read_description(LocalDirectory(tmp_path)).step] == min(losses.values())


def test_each_checkpoint_is_a_model(finished_dir: Path) -> None:
    best = read_model(LocalDirectory(finished_dir))
    for step in (3, 6):
        model = read_model(find_checkpoint(LocalDirectory(finished_dir), step))
        expected = best.description.model_copy(update={"step": step, "files": (), "digest": ""})
        assert model.description.model_copy(update={"files": (), "digest": ""}) == expected
        assert model.classes == best.classes
        is_best = all(
            np.array_equal(model.weights[name], best.weights[name]) for name in best.weights
        )
        assert is_best == (step == best.description.step)


def test_epochs_and_evaluations_stay_on_the_screen(
    bccd_shards: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    run(bccd_shards, tmp_path, "evaluate_every=3")
    lines = [line for line in caplog.messages if re.match(r"(epoch|step) \d", line)]
    assert len(lines) == 3
    assert re.fullmatch(r"step 3 of 6, val split: AP \S+, AP50 \S+", lines[0])
    assert re.match(r"step 6 of 6, 0.12 epochs: loss \d+\.\d+, \S+ images/s", lines[1])
    assert re.match(
        r"trained 6 steps in .*, loss \S+; the model is that of step", caplog.messages[-1]
    )


def test_a_finished_training_returns_immediately(copy_dir: Path, bccd_shards: Path) -> None:
    before = snapshot(copy_dir)
    result = run(bccd_shards, copy_dir, "evaluate_every=3")
    assert snapshot(copy_dir) == before
    assert result.metadata["steps"] == 6
    assert result.metrics == json.loads((copy_dir / "results.json").read_text())["metrics"]


@pytest.mark.parametrize("name", ["results.json", "model/config.json", "model/classes.json"])
def test_a_missing_file_is_written_again(copy_dir: Path, bccd_shards: Path, name: str) -> None:
    before = snapshot(copy_dir)
    (copy_dir / name).unlink()
    run(bccd_shards, copy_dir, "evaluate_every=3")
    after = snapshot(copy_dir)
    model_files = [path for path in before if path.startswith("model/")]
    assert len(model_files) == 3
    assert {path: after[path][1] for path in model_files} == {
        path: before[path][1] for path in model_files
    }
    assert after["results.json"][1] == before["results.json"][1]


def test_without_evaluation_the_last_weights_are_the_model(
    bccd_shards: Path, tmp_path: Path
) -> None:
    result = run(bccd_shards, tmp_path, "steps=2")
    assert read_model(LocalDirectory(tmp_path)).description.step == 2
    assert result.metrics.keys() == {"loss", "images_per_second"}


def test_another_training_is_refused_with_the_difference(copy_dir: Path, bccd_shards: Path) -> None:
    before = snapshot(copy_dir)
    problem = r"choose another --out; .*; differences: train\.seed: 1 -> 7$"
    with pytest.raises(OwnershipError, match=problem):
        run(bccd_shards, copy_dir, "evaluate_every=3", "seed=7")
    assert snapshot(copy_dir) == before


def test_a_finished_training_continues_with_more_steps(
    copy_dir: Path, bccd_shards: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = json.loads((copy_dir / "results.json").read_text())
    longer = make_training(bccd_shards, "evaluate_every=3", "steps=8")
    result = train.run(replace(longer, resume="extend"), LocalDirectory(copy_dir))
    assert result.metadata["steps"] == 8
    log = read_log(copy_dir / "train_log.jsonl")
    again = log[[line["event"] for line in log].index("start", 1) :]
    assert again[0]["step"] == 6
    [earlier] = again[0]["continues"]
    assert earlier["training_id"] == before["model"]["training_id"]
    assert earlier["changes"] == ["train.steps: 6 -> 8"]
    # The last evaluation of the shorter training followed its last checkpoint.
    assert [line["step"] for line in again if line["event"] == "evaluation"] == [6, 8]
    assert [line["step"] for line in again if line["event"] == "step"] == [8]
    best = max(line["ap"] for line in log if line["event"] == "evaluation")
    assert result.metrics["ap"] == best
    assert read_description(LocalDirectory(copy_dir)).training_id == longer.id
    assert run(bccd_shards, copy_dir, "evaluate_every=3", "steps=8") == result


def test_another_training_continues_on_request(copy_dir: Path, bccd_shards: Path) -> None:
    changes = ("evaluate_every=3", "optimizer.learning_rate=0.0001", "steps=7")
    changed = make_training(bccd_shards, *changes)
    train.run(replace(changed, resume="auto"), LocalDirectory(copy_dir))
    starts = [line for line in read_log(copy_dir / "train_log.jsonl") if line["event"] == "start"]
    assert [line["step"] for line in starts] == [0, 6]
    assert len(starts[1]["continues"][0]["changes"]) == 2


@pytest.mark.parametrize(
    ("change", "rule", "error", "message"),
    [
        ("optimizer.name=sgd", "auto", DataError, r"step-00000006: weights: 'optimizer/momentum/"),
        ("steps=5", "extend", UsageError, "the last step would be 5; choose more train.epochs"),
    ],
)
def test_what_cannot_continue_leaves_the_owner(
    copy_dir: Path, bccd_shards: Path, change: str, rule: str, error: type, message: str
) -> None:
    before = snapshot(copy_dir)
    changed = make_training(bccd_shards, "evaluate_every=3", change)
    with pytest.raises(error, match=message):
        train.run(replace(changed, resume=rule), LocalDirectory(copy_dir))
    after = snapshot(copy_dir)
    assert {name for name in before if after.get(name) != before[name]} == {
        *("invocation.json", "results.json", "checkpoints/attempt-00000001")
    }


def starts(out_dir: Path) -> list[int]:
    """Return the step after which each attempt began."""
    lines = read_log(out_dir / "train_log.jsonl")
    return [line["step"] for line in lines if line["event"] == "start"]


def test_a_fresh_start_replaces_the_training(
    finished_dir: Path, copy_dir: Path, bccd_shards: Path
) -> None:
    (copy_dir / "training.json").write_text("{}")
    training = replace(make_training(bccd_shards, "evaluate_every=3"), resume="fresh")
    train.run(training, LocalDirectory(copy_dir))
    first, second = (read_model(LocalDirectory(path)) for path in (finished_dir, copy_dir))
    assert second.description == first.description
    assert starts(copy_dir) == [0]
    # The same command continues what it has begun.
    shutil.rmtree(copy_dir / "checkpoints" / "step-00000006")
    (copy_dir / "results.json").unlink()
    for _ in range(2):
        train.run(training, LocalDirectory(copy_dir))
        assert starts(copy_dir) == [0, 3]


def test_a_rerun_stores_sections_that_do_not_change_the_weights(
    copy_dir: Path, bccd_shards: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = snapshot(copy_dir)
    caplog.set_level("INFO")
    training = make_training(bccd_shards, "evaluate_every=3")
    changed = override(training.recipe, ["benchmark.seconds=9", "publish.min_ap=0.5"])
    train.run(replace(training, recipe=changed), LocalDirectory(copy_dir))
    assert read_description(LocalDirectory(copy_dir)).recipe == changed
    after = snapshot(copy_dir)
    assert {name for name in after if after[name] != before[name]} == {"model/config.json"}
    assert re.search(
        r"^already trained: 6 steps in .*the best with AP 0\.\d+$", caplog.messages[-1]
    )


def test_the_name_of_a_recipe_is_only_a_label(copy_dir: Path, bccd_shards: Path) -> None:
    training = make_training(bccd_shards, "evaluate_every=3")
    renamed = training.recipe.model_copy(update={"name": "renamed"})
    train.run(replace(training, recipe=renamed), LocalDirectory(copy_dir))
    assert read_model(LocalDirectory(copy_dir)).description.recipe.name == "demo"


@pytest.mark.parametrize("resume", ["strict", "fresh"])
@pytest.mark.parametrize(
    ("changes", "device", "message"),
    [
        ([], "tpu", "tpu"),
        (["model.backbone=vgg16"], "cpu", "anchors"),
        (["init.source=other.safetensors"], "cpu", "none of its 1 arrays fits"),
        (["init.source=none.safetensors", f"init.sha256={'0' * 64}"], "cpu", "does not exist"),
    ],
)
def test_a_refused_training_leaves_all_as_it_was(
    bccd_shards: Path,
    copy_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    changes: list[str],
    device: str,
    message: str,
    resume: str,
) -> None:
    monkeypatch.chdir(copy_dir.parent)
    write_arrays(LocalDirectory(Path()), "other.safetensors", {"other": np.zeros(1, np.float32)})
    training = replace(make_training(bccd_shards, *changes, device=device), resume=resume)
    out_dir = copy_dir if resume == "fresh" else copy_dir.parent / "new"
    before = snapshot(out_dir)
    with pytest.raises(SsdError, match=message):
        train.run(training, LocalDirectory(out_dir))
    assert snapshot(out_dir) == before


def test_evaluation_without_a_val_split_is_refused_before_the_work(
    bccd_shards: Path, tmp_path: Path
) -> None:
    data_dir = Path(shutil.copytree(bccd_shards, tmp_path / "data"))
    change_manifest(data_dir, lambda manifest: manifest["splits"].pop("val"))
    with pytest.raises(DataError, match="no split 'val'"):
        run(data_dir, tmp_path / "out", "evaluate_every=3")
    assert not (tmp_path / "out").exists()


FOUR = ("steps=2", "batch_size=4")


def world_sizes(out_dir: Path) -> list[int]:
    """Return the number of processes at each start of the training."""
    lines = map(json.loads, (out_dir / "train_log.jsonl").read_text().splitlines())
    return [line["world_size"] for line in lines if "world_size" in line]


def test_one_process_per_device(bccd_shards: Path, finished_dir: Path, tmp_path: Path) -> None:
    out_dir = LocalDirectory(tmp_path)
    training = make_training(bccd_shards, *FOUR, f"init.source={finished_dir}")
    result = train.run_on_devices(training, out_dir, num_devices=2)
    assert (result.metadata["steps"], world_sizes(tmp_path)) == (2, [2])
    assert (tmp_path / "model" / "config.json").is_file()
    assert read_log(tmp_path / "train_log.jsonl")[0]["init"]["initial"] == []
    # A finished training returns immediately, even for devices that do not divide the batch.
    assert train.run_on_devices(training, out_dir, num_devices=3) == result
    assert world_sizes(tmp_path) == [2]


def test_the_exit_code_of_a_failed_process_is_kept(
    bccd_shards: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    unknown = make_training(bccd_shards, *FOUR, device="tpu")
    with pytest.raises(SsdError, match="see its error above") as failed:
        train.run_on_devices(unknown, LocalDirectory(tmp_path), num_devices=2)
    assert failed.value.exit_code == 2
    assert "error: unknown device 'tpu'" in capfd.readouterr().err
