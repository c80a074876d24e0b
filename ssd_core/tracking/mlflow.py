"""Curves of a training for MLflow: in MLFLOW_TRACKING_URI, else in `mlruns/` beside its log."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ssd_core.tracking.curves import find_points
from ssd_core.train_log import LineListener, parse_log

_EXPERIMENT = "ssd"
_TAG = "ssd.training_id"


@contextmanager
def open_tracker(log_path: Path, training_ids: Sequence[str]) -> Iterator[LineListener]:
    """Yield a listener that adds each line to the run of this training.

    MLflow cannot remove a point. A resumed training repeats the steps after its checkpoint, so
    points that the run has are left out.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    from mlflow import MlflowClient
    from mlflow.entities import Metric

    own_store = (log_path.parent / "mlruns").absolute().as_uri()
    client: Any = None
    run_id, last_steps = "", dict[str, int]()

    def write(line: Mapping[str, Any]) -> None:
        step, milliseconds = line["step"], round(1000 * line["time"])
        points = [
            Metric(name, value, milliseconds, step)
            for name, value in find_points(line).items()
            if step > last_steps.get(name, -1)
        ]
        if points:
            client.log_batch(run_id, metrics=points)

    def listen(line: Mapping[str, Any]) -> None:
        nonlocal client, run_id
        if line["event"] == "start":
            client = MlflowClient(os.environ.get("MLFLOW_TRACKING_URI") or own_store)
            run_id = _find_run(client, training_ids)
            for name in client.get_run(run_id).data.metrics:
                history = client.get_metric_history(run_id, name)
                last_steps[name] = max(point.step for point in history)
            for known in parse_log(log_path.read_bytes(), log_path):
                write(known)
        else:
            write(line)
        if line["event"] in {"end", "diverged"}:
            client.set_terminated(run_id, "FINISHED" if line["event"] == "end" else "FAILED")

    yield listen


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
