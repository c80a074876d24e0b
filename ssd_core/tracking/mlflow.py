"""Curves of a training for MLflow: in MLFLOW_TRACKING_URI, else in `mlruns/` beside its log."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ssd_core.tracking.background import Line, Send
from ssd_core.tracking.curves import take_new_points
from ssd_core.train_log import parse_log

_EXPERIMENT = "ssd"
_TAG = "ssd.training_id"
_PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
"""Shorter than MLflow's own, as the next line of the log tries again."""


@contextmanager
def open_tracker(log_path: Path, training_ids: Sequence[str]) -> Iterator[Send]:
    """Yield the function that adds lines to the run of this training.

    MLflow cannot remove a point. A resumed training repeats the steps after its checkpoint, so
    points that the run has are left out. After an error the run is opened again, and gets the
    missing part of the log.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    for name, value in _PATIENCE.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    own_store = (log_path.parent / "mlruns").absolute().as_uri()
    run: _Run | None = None

    def send(lines: Sequence[Line]) -> None:
        nonlocal run
        opened, run = run, None
        if opened is None:
            client = MlflowClient(os.environ.get("MLFLOW_TRACKING_URI") or own_store)
            opened = _Run(client, _find_run(client, training_ids))
            lines = parse_log(log_path.read_bytes(), log_path)
        opened.add(lines)
        run = opened

    yield send


class _Run:
    """A run of MLflow, and the last step of each of its curves."""

    def __init__(self, client: Any, run_id: str) -> None:
        self._client, self._id = client, run_id
        self._last_steps = {
            name: max(point.step for point in client.get_metric_history(run_id, name))
            for name in client.get_run(run_id).data.metrics
        }

    def add(self, lines: Sequence[Line]) -> None:
        """Add the points of lines that it lacks, and how the training ends."""
        from mlflow.entities import Metric

        for line in lines:
            if points := take_new_points(line, self._last_steps):
                place = (round(1000 * line["time"]), line["step"])
                metrics = [Metric(name, value, *place) for name, value in points.items()]
                self._client.log_batch(self._id, metrics=metrics)
        if (event := lines[-1]["event"]) in {"end", "diverged"}:
            self._client.set_terminated(self._id, "FINISHED" if event == "end" else "FAILED")


def _find_run(client: Any, training_ids: Sequence[str]) -> str:
    """Return the id of the run of the newest of these trainings, or that of a new one."""
    experiment = client.get_experiment_by_name(_EXPERIMENT)
    where = experiment.experiment_id if experiment else client.create_experiment(_EXPERIMENT)
    for training_id in training_ids:
        for run in client.search_runs([where], f"tags.`{_TAG}` = '{training_id}'"):
            client.set_tag(run.info.run_id, _TAG, training_ids[0])
            client.update_run(run.info.run_id, "RUNNING")
            return str(run.info.run_id)
    run = client.create_run(where, tags={_TAG: training_ids[0]}, run_name=training_ids[0])
    return str(run.info.run_id)
