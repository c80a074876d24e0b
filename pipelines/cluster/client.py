"""Experiments, runs and schedules of Kubeflow Pipelines."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import kfp_server_api

from pipelines.cluster.connection import Connection
from pipelines.cluster.settings import ServerSettings
from ssd_core.errors import UsageError

_PAGE_SIZE = 100
_RUN_ID = re.compile(r"[\w-]+", re.ASCII)
_EQUALS = 1
"""Operation of a filter, as kfp.Client writes it."""
_OVER = {"SUCCEEDED", "SKIPPED", "FAILED", "CANCELED"}
_STOPPING = {"CANCELING", "CANCELED"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A recurring run of a pipeline."""

    id: str
    name: str
    cron: str
    pipeline: str
    is_enabled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StepState:
    """A step that has begun."""

    name: str
    state: str
    """Lower case: pending, running, succeeded, failed, ..."""
    seconds: float | None
    """Duration; None while it runs."""
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunState:
    """A run, with the steps that have begun in the order of their start."""

    id: str
    name: str
    state: str
    """Lower case; a run that a user terminated is `terminated`, which the server calls FAILED."""
    is_over: bool
    is_stopping: bool
    """A user terminated it, or it is already over."""
    steps: tuple[StepState, ...]
    arguments: Mapping[str, Any]
    error: str


class Client:
    """One server; every method raises the errors of `Connection.call`."""

    def __init__(self, settings: ServerSettings) -> None:
        """Connect, so that wrong settings are reported before anything is sent."""
        self._connection = Connection(settings)
        self._call = self._connection.call
        self._namespace = settings.namespace
        self._where = {"namespace": settings.namespace} if settings.namespace else {}
        self._ui = (settings.ui_endpoint or self._connection.endpoint).rstrip("/")
        api = self._connection.api
        self._experiments = kfp_server_api.ExperimentServiceApi(api)
        self._runs = kfp_server_api.RunServiceApi(api)
        self._recurring_runs = kfp_server_api.RecurringRunServiceApi(api)
        health = self._call(kfp_server_api.HealthzServiceApi(api).healthz_service_get_healthz)
        if health.multi_user and not self._namespace:
            raise UsageError(
                f"{self._connection.endpoint} has users; name your profile by --namespace"
            )

    def ensure_experiment(self, name: str) -> str:
        """Return the id of the experiment called `name`; create it where it does not exist."""
        listed = self._call(
            self._experiments.experiment_service_list_experiments,
            filter=_name_filter(name),
            **self._where,
        )
        for found in listed.experiments or ():
            if found.display_name == name:
                return str(found.experiment_id)
        body = kfp_server_api.V2beta1Experiment(display_name=name, namespace=self._namespace)
        made = self._call(self._experiments.experiment_service_create_experiment, body)
        return str(made.experiment_id)

    def create_run(self, specification: Mapping[str, Any], **options: Any) -> RunState:
        """Start a run.

        Args:
            specification: `pipeline_spec` and `runtime_config`.
            options: further fields of a `V2beta1Run`.
        """
        body = kfp_server_api.V2beta1Run(**specification, **options)
        return _read_run(self._call(self._runs.run_service_create_run, body))

    def get_run(self, run_id: str) -> RunState:
        """Return the state of a run.

        Raises:
            UsageError: the id is malformed.
        """
        if not _RUN_ID.fullmatch(run_id):
            raise UsageError(f"'{run_id}' is not the id of a run; `submit` prints it")
        return _read_run(self._call(self._runs.run_service_get_run, run_id))

    def find_runs(self, name: str, experiment: str) -> list[RunState]:
        """Return the runs of this name, the newest first."""
        listed = self._call(
            self._runs.run_service_list_runs,
            experiment_id=experiment,
            filter=_name_filter(name),
            sort_by="created_at desc",
            page_size=_PAGE_SIZE,
        )
        return [_read_run(run) for run in listed.runs or () if run.display_name == name]

    def list_schedules(self) -> list[Schedule]:
        """Return the schedules of the namespace by name."""
        found: list[Schedule] = []
        options = dict(self._where)
        while True:
            page = self._call(
                self._recurring_runs.recurring_run_service_list_recurring_runs,
                page_size=_PAGE_SIZE,
                **options,
            )
            found += map(_read_schedule, page.recurring_runs or ())
            if not page.next_page_token:
                return sorted(found, key=lambda schedule: schedule.name)
            options["page_token"] = page.next_page_token

    def create_schedule(
        self, specification: Mapping[str, Any], cron: str, **options: Any
    ) -> Schedule:
        """Create an enabled schedule: one run at a time, and a missed one is not made up for.

        Args:
            specification: `pipeline_spec` and `runtime_config`.
            cron: a line of six fields.
            options: further fields of a `V2beta1RecurringRun`.
        """
        body = kfp_server_api.V2beta1RecurringRun(
            trigger=kfp_server_api.V2beta1Trigger(
                cron_schedule=kfp_server_api.V2beta1CronSchedule(cron=cron)
            ),
            mode=kfp_server_api.RecurringRunMode.ENABLE,
            max_concurrency="1",
            no_catchup=True,
            **specification,
            **options,
        )
        create: Callable[..., Any]
        create = self._recurring_runs.recurring_run_service_create_recurring_run
        return _read_schedule(self._call(create, body))

    def delete_schedule(self, schedule: Schedule) -> None:
        """Delete a schedule; its runs stay."""
        self._call(self._recurring_runs.recurring_run_service_delete_recurring_run, schedule.id)

    def run_url(self, run_id: str) -> str:
        """Return the page of a run."""
        return f"{self._ui}/#/runs/details/{run_id}"

    def schedule_url(self, schedule: Schedule) -> str:
        """Return the page of a schedule."""
        return f"{self._ui}/#/recurringrun/details/{schedule.id}"


def _name_filter(name: str) -> str:
    predicate = {"operation": _EQUALS, "key": "display_name", "stringValue": name}
    return json.dumps({"predicates": [predicate]})


def _read_schedule(found: Any) -> Schedule:
    cron = found.trigger and found.trigger.cron_schedule and found.trigger.cron_schedule.cron
    return Schedule(
        id=found.recurring_run_id,
        name=found.display_name or "",
        cron=cron or "",
        pipeline=_specification(found).get("pipelineInfo", {}).get("name", ""),
        is_enabled=found.status == kfp_server_api.V2beta1RecurringRunStatus.ENABLED,
    )


def _read_run(run: Any) -> RunState:
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
    tasks = _specification(run).get("root", {}).get("dag", {}).get("tasks", {})
    details = (run.run_details and run.run_details.task_details) or ()
    begun = [task for task in details if task.display_name in tasks and task.start_time]
    for task in sorted(begun, key=lambda task: task.start_time):
        yield StepState(
            name=task.display_name.replace("-", "_"),
            state=(task.state or "RUNNING").lower(),
            seconds=_seconds(task.start_time, task.end_time),
            error=_message(task.error),
        )


def _specification(found: Any) -> Mapping[str, Any]:
    """Return the pipeline of a run or schedule, also where settings of the platform go with it."""
    content = found.pipeline_spec or {}
    specification: Mapping[str, Any] = content.get("pipeline_spec", content)
    return specification


def _seconds(start: datetime, end: datetime | None) -> float | None:
    """Return the time between them; the end of a running task is in 1970."""
    return None if end is None or end < start else (end - start).total_seconds()


def _message(error: Any) -> str:
    return (error and error.message) or ""
