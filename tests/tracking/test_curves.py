"""Curves in TensorBoard and MLflow, read by their own readers, after a kill and a rewind."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ssd_core.structures import Batch
from ssd_core.tracking import follow_training
from ssd_core.tracking.curves import find_points
from ssd_core.training.loop import train
from ssd_core.training.run import Run
from tests.requirements import missing
from tests.train_logs import read_log
from tests.training.small_run import make_config, make_run

Curves = dict[str, list[tuple[int, float]]]
"""Steps and values by name."""


def read_tensorboard(out_dir: Path) -> Curves:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    reader = EventAccumulator(str(out_dir / "tensorboard"))
    reader.Reload()
    names = reader.Tags()["scalars"]
    return {name: [(each.step, each.value) for each in reader.Scalars(name)] for name in names}


def read_mlflow(out_dir: Path) -> Curves:
    from mlflow import MlflowClient

    client = MlflowClient((out_dir / "mlruns").as_uri())
    experiment = client.get_experiment_by_name("ssd")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    return {
        name: [(each.step, each.value) for each in client.get_metric_history(run.info.run_id, name)]
        for name in run.data.metrics
    }


READERS = {"tensorboard": read_tensorboard, "mlflow": read_mlflow}


def follow(name: str, run: Run) -> None:
    with follow_training([name], run.log_path, ["0123"]) as listeners:
        train(replace(run, listeners=listeners))


def stopping(batches: Callable[[int, int], Iterator[Batch]], last: int) -> Iterator[Batch]:
    yield from batches(0, last)
    raise KeyboardInterrupt


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("name", READERS)
def test_a_killed_training_continues_its_curves(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        __import__(name)
    except ModuleNotFoundError:
        missing(name, f"{name} is not installed; pip install --editable '.[{name}]'")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    run = make_run(tmp_path, make_config(evaluate_every=4))
    with pytest.raises(KeyboardInterrupt):  # two lines after the checkpoint of step 8
        follow(name, replace(run, batches=lambda first, last: stopping(run.batches, 11)))
    follow(name, make_run(tmp_path, make_config(evaluate_every=4)))

    expected: Curves = defaultdict(list)
    for line in read_log(run.log_path):
        for curve, value in find_points(line).items():
            expected[curve].append((line["step"], value))
    found = READERS[name](tmp_path)
    assert found.keys() == expected.keys() >= {"train/loss", "train/learning_rate", "val/ap"}
    for curve, points in expected.items():
        assert [step for step, _ in found[curve]] == [step for step, _ in points], curve
        if curve in {"train/loss", "train/learning_rate", "val/ap"}:
            values = [value for _, value in found[curve]]
            assert values == pytest.approx([value for _, value in points]), curve


def test_a_tracker_that_fails_is_dropped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tensorboard")
    (tmp_path / "tensorboard").write_text("a file, not a folder")
    run = make_run(tmp_path)
    follow("tensorboard", run)
    (warning,) = [each.message for each in caplog.records if each.levelname == "WARNING"]
    assert warning.startswith("tensorboard gets no more figures until the training is resumed: ")
    assert read_log(run.log_path)[-1]["event"] == "end"
