"""How far the training of a run is, by its log in the store; the cluster is not needed."""

from pipelines.catalogue import STEPS
from ssd_core.logs import format_duration
from ssd_core.metrics import METRICS
from ssd_core.stages.frame import INVOCATION_FILE
from ssd_core.stages.outputs import read_invocation
from ssd_core.store.layout import Layout
from ssd_core.train_log import LOG_FILE, TrainingProgress, find_progress, parse_log

TRAINS = {step for step, info in STEPS.items() if (info.stage or step) == "train"}
"""The steps that train."""


def read_progress(layout: Layout, run: str, step: str) -> TrainingProgress | None:
    """Return the progress of a step that trains, by the log as of the last checkpoint.

    Returns:
        None before the first checkpoint.

    Raises:
        SsdError: the store cannot be read, or the log is damaged.
    """
    record = layout.run(run, step)
    if record.head(INVOCATION_FILE) is None:
        return None
    directory = layout.training(read_invocation(record)["options"]["training_id"])
    if directory.head(LOG_FILE) is None:
        return None
    lines = parse_log(directory.get(LOG_FILE), directory / LOG_FILE)
    return find_progress({line["event"]: line for line in lines})


def describe_progress(progress: TrainingProgress) -> str:
    """Return the progress for one line: "45 %, 2:03:05 h left, loss 2.100, AP 0.213"."""
    figures = [f"{progress.percent} %"]
    if progress.seconds_left is not None:
        figures.append(f"{format_duration(progress.seconds_left)} left")
    figures += [METRICS[name].describe(value) for name, value in progress.metrics.items()]
    return ", ".join(figures)
