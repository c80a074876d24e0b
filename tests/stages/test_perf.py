"""The speed of a training: bounded, measured again at every call, without a model."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from ssd_core.backends.ranks import Nodes
from ssd_core.benchmark.fps import measure_log
from ssd_core.benchmark.history import read_series
from ssd_core.config import BenchmarkConfig, PostprocessOverrides
from ssd_core.errors import OwnershipError, UsageError
from ssd_core.recipes import load_recipe
from ssd_core.recipes.overrides import override
from ssd_core.stages import benchmark, perf
from ssd_core.stages.train import Training
from ssd_core.store import LocalDirectory


def make_training(data_dir: Path, *changes: str) -> Training:
    recipe = override(load_recipe("demo"), ["train.batch_size=2", "train.steps=4", *changes])
    return Training(recipe=recipe, data_dir=LocalDirectory(data_dir), device="cpu")


def test_each_call_measures(bccd_shards: Path, tmp_path: Path) -> None:
    training, out_dir = make_training(bccd_shards), LocalDirectory(tmp_path)
    recipe = training.recipe.model_copy(update={"name": "team/demo"})
    training = replace(training, recipe=recipe)
    logs = []
    for _ in range(2):
        result = perf.run(training, out_dir, Nodes(1))
        logs.append((tmp_path / "train_log.jsonl").read_bytes())
    assert logs[0] != logs[1]
    assert {path.name for path in tmp_path.iterdir()} == {
        *("invocation.json", "results.json", "train_log.jsonl", "team-demo_bs2_1p_perf.log")
    }
    results = json.loads((tmp_path / "results.json").read_text())
    assert (results["steps"], results["warm_up_steps"]) == (4, 1)
    speed = result.metrics["images_per_second"]
    assert measure_log(logs[1], "log").images_per_second == pytest.approx(speed, rel=1e-3)
    summary = dict(
        re.findall(r"^(\w+) = (.*)$", (tmp_path / "team-demo_bs2_1p_perf.log").read_text(), re.M)
    )
    assert (summary["RankSize"], summary["BatchSize"]) == ("1", "2")
    assert float(summary["ActualFPS"]) == pytest.approx(speed, abs=0.01)
    assert float(summary["TrainingTime"]) == pytest.approx(2000 / speed, rel=0.01)
    assert float(summary["E2ETrainingTime"]) >= results["seconds"] - 1


def test_what_is_not_one_machine_is_refused(
    bccd_shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = make_training(bccd_shards)
    with pytest.raises(UsageError, match="one machine.*--resume fresh"):
        perf.run(training, LocalDirectory(tmp_path), Nodes(1, 2))
    (tmp_path / "notes.txt").touch()
    with pytest.raises(OwnershipError, match="choose an empty directory"):
        perf.run(training, LocalDirectory(tmp_path), Nodes(1))


def test_a_benchmark_tracks_the_speed_of_training(trained_dir: Path, tmp_path: Path) -> None:
    config = BenchmarkConfig(
        batch_sizes=(1,),
        seconds=0.01,
        train_steps=2,
        postprocess=PostprocessOverrides(score_threshold=0.3),
    )
    model_dir, series = LocalDirectory(trained_dir), LocalDirectory(tmp_path / "series")
    out_dir = LocalDirectory(tmp_path / "speed")
    result = benchmark.run(
        config, model_dir, out_dir, series=benchmark.SpeedSeries(series), device="cpu"
    )
    assert result.metrics["train_images_per_second"] > 0
    (measured,) = read_series(series)
    assert result.metrics.items() <= measured.metrics.items()
