"""How a run on a cluster stands, read from what Kubeflow Pipelines says of it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

_OVER = {"SUCCEEDED", "SKIPPED", "FAILED", "CANCELED"}
_STOPPING = {"CANCELING", "CANCELED"}


@dataclass(frozen=True, slots=True, kw_only=True)
class StepState:
    """One step; it has begun."""

    name: str
    state: str
    """Lower case: pending, running, succeeded, failed, ..."""
    seconds: float | None
    """How long it ran; None while it does."""
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunState:
    """A run, with the steps that have begun in the order of their start."""

    id: str
    name: str
    state: str
    """Lower case; a run that somebody terminated is `terminated`, which the server calls FAILED."""
    is_over: bool
    is_stopping: bool
    """Somebody terminated it, or it is already over."""
    steps: tuple[StepState, ...]
    arguments: Mapping[str, Any]
    error: str


def read_state(run: Any) -> RunState:
    """Read a `V2beta1Run`."""
    state = run.state or "PENDING"
    past = {entry.state for entry in run.state_history or ()} | {state}
    is_over, was_stopped = state in _OVER, bool(past & _STOPPING)
    return RunState(
        id=run.run_id,
        name=run.display_name or "",
        state="terminated" if is_over and was_stopped and state != "SUCCEEDED" else state.lower(),
        is_over=is_over,
        is_stopping=is_over or was_stopped,
        steps=tuple(_read_steps(run)),
        arguments=(run.runtime_config and run.runtime_config.parameters) or {},
        error=_message(run.error),
    )


def _read_steps(run: Any) -> Iterator[StepState]:
    """Yield the tasks that the pipeline names; the server lists its own pods among them."""
    content = run.pipeline_spec or {}
    specification = content.get("pipeline_spec", content)
    tasks = specification.get("root", {}).get("dag", {}).get("tasks", {})
    details = (run.run_details and run.run_details.task_details) or ()
    begun = [task for task in details if task.display_name in tasks and task.start_time]
    for task in sorted(begun, key=lambda task: task.start_time):
        yield StepState(
            name=task.display_name.replace("-", "_"),
            state=(task.state or "RUNNING").lower(),
            seconds=_seconds(task.start_time, task.end_time),
            error=_message(task.error),
        )


def _seconds(start: datetime, end: datetime | None) -> float | None:
    """Return the time between them; one that has no end yet ends in 1970."""
    return None if end is None or end < start else (end - start).total_seconds()


def _message(error: Any) -> str:
    return (error and error.message) or ""
