"""Curves in TensorBoard and MLflow, read by their own readers, after a kill and a rewind."""

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from ssd_core.errors import DataError
from ssd_core.structures import Batch
from ssd_core.tracking import follow_training
from ssd_core.tracking.background import in_background
from ssd_core.tracking.curves import find_points
from ssd_core.train_log import LineListener
from ssd_core.training.loop import train
from ssd_core.training.run import Run
from tests.requirements import missing
from tests.store.servers import wait_until
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


def follow(name: str, run: Run, *listeners: LineListener) -> None:
    with follow_training([name], run.log_path, ["0123"]) as trackers:
        train(replace(run, listeners=[*trackers, *listeners]))


def assert_curves_are_those_of_the_log(name: str, run: Run) -> None:
    expected: Curves = defaultdict(list)
    for line in read_log(run.log_path):
        for curve, value in find_points(line).items():
            expected[curve].append((line["step"], value))
    found = READERS[name](run.log_path.parent)
    assert found.keys() == expected.keys() >= {"train/loss", "train/learning_rate", "val/ap"}
    for curve, points in expected.items():
        assert [step for step, _ in found[curve]] == [step for step, _ in points], curve
        if curve in {"train/loss", "train/learning_rate", "val/ap"}:
            values = [value for _, value in found[curve]]
            assert values == pytest.approx([value for _, value in points]), curve


@pytest.fixture(params=READERS)
def tracker(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the name of a tracker that is installed."""
    name: str = request.param
    try:
        __import__(name)
    except ModuleNotFoundError:
        missing(name, f"{name} is not installed; pip install --editable '.[{name}]'")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return name


def stopping(batches: Callable[[int, int], Iterator[Batch]], last: int) -> Iterator[Batch]:
    yield from batches(0, last)
    raise KeyboardInterrupt


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_killed_training_continues_its_curves(tracker: str, tmp_path: Path) -> None:
    run = make_run(tmp_path, make_config(evaluate_every=4))
    with pytest.raises(KeyboardInterrupt):  # two lines after the checkpoint of step 8
        follow(tracker, replace(run, batches=lambda first, last: stopping(run.batches, 11)))
    follow(tracker, make_run(tmp_path, make_config(evaluate_every=4)))
    assert_curves_are_those_of_the_log(tracker, run)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_tracker_that_has_failed_gets_what_it_lacks(
    tracker: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    obstacle = tmp_path / {"tensorboard": "tensorboard", "mlflow": "mlruns"}[tracker]
    obstacle.write_text("a file, not a folder")

    def warnings() -> list[str]:
        return [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]

    def remove_obstacle(line: Mapping[str, Any]) -> None:
        if line["event"] == "start":
            wait_until(lambda: warnings() != [])
            obstacle.unlink()

    run = make_run(tmp_path, make_config(evaluate_every=4))
    follow(tracker, run, remove_obstacle)
    [warning] = warnings()
    assert warning.startswith(f"{tracker} gets no figures at present: ")
    assert_curves_are_those_of_the_log(tracker, run)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_the_call_after_an_error_writes_the_whole_log(tracker: str, tmp_path: Path) -> None:
    run = make_run(tmp_path, make_config(evaluate_every=4))
    train(run)
    content = run.log_path.read_bytes()
    start, *lines, end = read_log(run.log_path)
    module = import_module(f"ssd_core.tracking.{tracker}")
    with module.open_tracker(run.log_path, ["0123"]) as send:
        for whole in (b"nonsense\n", content):
            run.log_path.write_bytes(whole)
            with nullcontext() if whole == content else pytest.raises(DataError):
                send([start])
        with pytest.raises((TypeError, ValueError)):
            send([{**lines[0], "step": 10**6, "time": "noon"}])
        send([end])
    assert_curves_are_those_of_the_log(tracker, run)
    assert len([*tmp_path.glob("tensorboard/*")]) == (tracker == "tensorboard")


def test_no_step_waits_for_a_receiver(tmp_path: Path) -> None:
    answers, received = threading.Event(), list[Mapping[str, Any]]()

    def send(lines: Sequence[Mapping[str, Any]]) -> None:
        answers.wait()
        received.extend(lines)

    run = make_run(tmp_path)
    with in_background("server", send) as listener:
        train(replace(run, listeners=[listener]))
        assert received == []
        answers.set()
    assert received == read_log(run.log_path)
