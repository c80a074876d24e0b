"""`ssd plan` and `ssd train --budget`, with real probes that are only shorter."""

import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from ssd_core.backends.ranks import Nodes
from ssd_core.cli.app import main
from ssd_core.cli.plan import _lines
from ssd_core.errors import UsageError
from ssd_core.process.memory import read_memory_limit
from ssd_core.recipes import load_recipe
from ssd_core.recipes.overrides import override
from ssd_core.stages import plan
from ssd_core.stages.train import Training, run
from ssd_core.store import LocalDirectory

PLAN = plan.Plan(
    steps=250,
    seconds_per_step=14.4,
    evaluations=0,
    memory="host",
    peak_memory=1,
    memory_limit=2,
    largest_batch=None,
    bytes_read=1,
)


@pytest.fixture(autouse=True)
def _short_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "_SECONDS", 0.0)
    monkeypatch.setattr(plan, "_MIN_STEPS", 2)


def make_training(data_dir: Path, *changes: str) -> Training:
    recipe = override(load_recipe("demo"), ["train.batch_size=4", *changes])
    return Training(recipe=recipe, data_dir=LocalDirectory(data_dir), device="cpu")


def test_a_plan_counts_all_steps(bccd_shards: Path) -> None:
    training = make_training(bccd_shards, "train.epochs=2", "train.evaluate_every=20")
    found = plan.make_plan(training, Nodes(1))
    assert (found.steps, found.evaluations, found.memory) == (50, 3, "host")
    assert found.hours == pytest.approx(50 * found.seconds_per_step / 3600)
    assert 1e8 < found.peak_memory < found.memory_limit == read_memory_limit()
    size = sum(path.stat().st_size for path in bccd_shards.glob("train-*"))
    assert found.bytes_read == pytest.approx(2 * size)
    assert found.largest_batch is None or 4 < found.largest_batch <= 100
    with pytest.raises(UsageError, match="one machine"):
        plan.make_plan(training, Nodes(1, 2))


def test_memory_grows_with_the_batch() -> None:
    half = plan._Probe(8, 1.0, {}, {"device_memory": 500})
    whole = plan._Probe(16, 1.0, {}, {"device_memory": 900})
    assert plan._extrapolate(half, whole, "device_memory", 2000, 1) == 38
    # Each of two devices has 50 bytes per image of the whole batch.
    assert plan._extrapolate(half, whole, "device_memory", 2000, 2) == 38
    assert plan._extrapolate(half, half, "device_memory", 2000, 1) is None
    assert plan._extrapolate(half, whole._replace(last=half.last), "device_memory", 9, 1) is None


@pytest.mark.parametrize(
    ("changes", "remedy"),
    [(["train.epochs=10"], "--epochs 5"), (["train.steps=250"], "--set train.steps=125")],
)
def test_a_budget_names_the_length_that_fits(
    bccd_shards: Path, changes: list[str], remedy: str
) -> None:
    training = make_training(bccd_shards, *changes)
    plan.check_budget(training, PLAN, 1.0)
    with pytest.raises(UsageError) as caught:
        plan.check_budget(training, PLAN, 0.5)
    assert str(caught.value).endswith(f"250 steps of 14.4 s, of which 125 fit; use {remedy}")


@pytest.mark.parametrize(
    ("seconds", "evaluations", "line"),
    [
        (2.0, 0, "8.33 min: 250 steps of 2 s"),
        (14.4, 1, "1 h: 250 steps of 14.4 s, without 1 evaluation"),
    ],
)
def test_the_time_of_a_plan_has_the_fitting_unit(
    seconds: float, evaluations: int, line: str
) -> None:
    found = replace(PLAN, seconds_per_step=seconds, evaluations=evaluations)
    assert next(_lines(found)) == f"time           {line}"


def test_a_processor_is_refused_before_a_probe(tmp_path: Path) -> None:
    missing, out_dir = make_training(tmp_path / "missing"), LocalDirectory(tmp_path / "out")
    for world in (1, 2):
        with pytest.raises(UsageError, match="--batch-size auto needs the memory of a GPU or NPU"):
            plan.take_largest_batch(missing, out_dir, Nodes(world))


def test_a_training_over_the_budget_is_refused_before_it_begins(
    bccd_shards: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    words = f"train --data {bccd_shards} --recipe demo --batch-size 2 --budget 0.00001 --device cpu"
    monkeypatch.setattr(sys, "argv", ["ssd", *words.split(), "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as ended:
        main()
    out, err = capfd.readouterr()
    assert (ended.value.code, out) == (2, "")
    assert "longer than --budget 1e-05: " in err.splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_the_end_compares_with_the_plan(
    bccd_shards: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    training = make_training(bccd_shards, "train.steps=1", "train.evaluate_every=null")
    run(replace(training, planned_hours=1.0), LocalDirectory(tmp_path))
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["planned_seconds"] == 3600
    (line,) = [each.message for each in caplog.records if each.message.startswith("planned ")]
    assert re.fullmatch(r"planned 1:00:00 h, took \d+ s: -(99|100) %", line)


def test_the_command_prints_the_plan(
    bccd_shards: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    words = f"plan --data {bccd_shards} --recipe demo --set train.batch_size=2 --device cpu"
    monkeypatch.setattr(sys, "argv", ["ssd", *words.split(), "--json"])
    with pytest.raises(SystemExit):
        main()
    out, err = capfd.readouterr()
    assert [line[:12] for line in err.splitlines()] == ["trial 1 of 2", "trial 2 of 2"]
    found = json.loads(out)
    assert found["hours"] > 0
    assert found.keys() == {*plan.Plan.__dataclass_fields__, "hours"}
