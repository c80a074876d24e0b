"""Experiments, runs and schedules of Kubeflow Pipelines."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import kfp_server_api

from pipelines.catalogue import step_name
from pipelines.cluster.connection import Connection
from pipelines.cluster.settings import ServerSettings
from ssd_core.errors import UsageError

_PAGE_SIZE = 100
_RUN_ID = re.compile(r"[\w-]+", re.ASCII)
_EQUALS, _CONTAINS = 1, 9
"""Operations of a filter, as kfp.Client writes them."""
_OVER = {"SUCCEEDED", "SKIPPED", "FAILED", "CANCELED"}
_ACTIVE = {"PENDING", "RUNNING"}
_STOPPING = {"CANCELING", "CANCELED"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A recurring run of a pipeline."""

    id: str
    name: str
    experiment: str
    """Id of the experiment with its runs."""
    cron: str
    pipeline: str
    is_enabled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A node of the workflow that runs a pipeline: a pod, or a group of nodes."""

    id: str
    name: str
    is_pod: bool
    phase: str
    message: str
    """From Kubernetes, for example `Unschedulable: …` or `OOMKilled (exit code 137)`."""
    children: tuple[str, ...]

    @property
    def is_waiting(self) -> bool:
        """Whether it is a pod that has not started, for a reason."""
        return self.is_pod and self.phase == "Pending" and bool(self.message)

    @property
    def has_failed(self) -> bool:
        """Whether it is a pod that has failed or was lost."""
        return self.is_pod and self.phase in {"Failed", "Error"}


@dataclass(frozen=True, slots=True, kw_only=True)
class StepState:
    """A step that has begun, or cannot begin any more."""

    name: str
    state: str
    """Lower case: pending, waiting, running, succeeded, failed, not run, ..."""
    seconds: float | None
    """Duration; None while it runs."""
    error: str
    node: str = ""
    """Id of the node with its pods."""
    may_pass: bool = False
    """It failed for a reason that a rerun may not meet."""


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
            filter=_name_filter(name, _EQUALS),
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

    def get_nodes(self, run_id: str) -> dict[str, Node]:
        """Return the nodes of the workflow of a run by id, also when they no longer exist."""
        text = self._connection.read("/apis/v1beta1/runs/{run}", run=run_id)
        try:
            manifest = json.loads(text)["pipeline_runtime"]["workflow_manifest"]
            nodes = json.loads(manifest)["status"]["nodes"]
        except (ValueError, KeyError):  # before the first node, or another server
            return {}
        return {node_id: _read_node(node) for node_id, node in nodes.items()}

    def get_log(self, run_id: str, node: str) -> str:
        """Return the log of a node, also when its pod no longer exists."""
        path = "/apis/v1alpha1/runs/{run}/nodes/{node}/log"
        return self._connection.read(path, run=run_id, node=node)

    def find_runs(self, name: str, experiment: str) -> list[RunState]:
        """Return the runs of this name, each with its number behind it, the newest first."""
        runs = self._list(
            self._runs.run_service_list_runs,
            "runs",
            experiment_id=experiment,
            filter=_name_filter(f"{name} #", _CONTAINS),
            sort_by="created_at desc",
        )
        return [_read_run(run) for run in runs if run.display_name.startswith(f"{name} #")]

    def active_runs(self, schedule: Schedule) -> list[str]:
        """Return the ids of the runs that a schedule has started and that are not over."""
        list_runs = self._runs.run_service_list_runs
        runs = self._list(list_runs, "runs", experiment_id=schedule.experiment)
        return [
            str(run.run_id)
            for run in runs
            if run.recurring_run_id == schedule.id and run.state not in _OVER
        ]

    def list_schedules(self) -> list[Schedule]:
        """Return the schedules of the namespace by name."""
        list_all = self._recurring_runs.recurring_run_service_list_recurring_runs
        found = map(_read_schedule, self._list(list_all, "recurring_runs", **self._where))
        return sorted(found, key=lambda schedule: schedule.name)

    def _list(self, method: Callable[..., Any], name: str, **options: Any) -> Iterator[Any]:
        """Yield the entries of all pages."""
        while True:
            page = self._call(method, page_size=_PAGE_SIZE, **options)
            yield from getattr(page, name) or ()
            if not page.next_page_token:
                return
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

    def disable_schedule(self, schedule: Schedule) -> None:
        """Let a schedule start no more runs; its active run goes on."""
        disable: Callable[..., Any]
        disable = self._recurring_runs.recurring_run_service_disable_recurring_run
        self._call(disable, schedule.id)

    def delete_schedule(self, schedule: Schedule) -> None:
        """Delete a schedule, and with it the workflow of a run that is still active."""
        self._call(self._recurring_runs.recurring_run_service_delete_recurring_run, schedule.id)

    def run_url(self, run_id: str) -> str:
        """Return the page of a run."""
        return f"{self._ui}/#/runs/details/{run_id}"

    def schedule_url(self, schedule: Schedule) -> str:
        """Return the page of a schedule."""
        return f"{self._ui}/#/recurringrun/details/{schedule.id}"


def _name_filter(name: str, operation: int) -> str:
    predicate = {"operation": operation, "key": "display_name", "stringValue": name}
    return json.dumps({"predicates": [predicate]})


def _read_schedule(found: Any) -> Schedule:
    cron = found.trigger and found.trigger.cron_schedule and found.trigger.cron_schedule.cron
    return Schedule(
        id=found.recurring_run_id,
        name=found.display_name or "",
        experiment=found.experiment_id or "",
        cron=cron or "",
        pipeline=_specification(found).get("pipelineInfo", {}).get("name", ""),
        is_enabled=found.status == kfp_server_api.V2beta1RecurringRunStatus.ENABLED,
    )


def _read_node(node: Mapping[str, Any]) -> Node:
    return Node(
        id=node["id"],
        name=node.get("displayName", ""),
        is_pod=node.get("type") == "Pod",
        phase=node.get("phase", ""),
        message=node.get("message", ""),
        children=tuple(node.get("children", ())),
    )


def _read_run(run: Any) -> RunState:
    """Read a `V2beta1Run`; one that was retried counts from its last start."""
    state = run.state or "PENDING"
    history = [entry.state for entry in run.state_history or ()] + [state]
    start = max((place for place, past in enumerate(history) if past in _ACTIVE), default=0)
    is_over, was_stopped = state in _OVER, bool(_STOPPING & set(history[start:]))
    return RunState(
        id=run.run_id,
        name=run.display_name or "",
        state="terminated" if is_over and was_stopped and state != "SUCCEEDED" else state.lower(),
        is_over=is_over,
        is_stopping=is_over or was_stopped,
        steps=tuple(_read_steps(run, "not run" if is_over else "pending")),
        arguments=(run.runtime_config and run.runtime_config.parameters) or {},
        error=_message(run.error),
    )


def _read_steps(run: Any, unstarted: str) -> Iterator[StepState]:
    """Yield the tasks that the pipeline names; the server lists its own pods among them.

    It gives no state to a task that never ran; ours is `unstarted`.
    """
    tasks = _specification(run).get("root", {}).get("dag", {}).get("tasks", {})
    details = (run.run_details and run.run_details.task_details) or ()
    begun = [task for task in details if task.display_name in tasks and task.start_time]
    for task in sorted(begun, key=lambda task: (task.state is None, task.start_time)):
        children = task.child_tasks or ()
        yield StepState(
            name=_name_step(task.display_name, tasks[task.display_name]),
            state=task.state.lower() if task.state else unstarted,
            seconds=_seconds(task.start_time, task.end_time) if task.state else None,
            error=_message(task.error),
            node=children[0].pod_name if children else "",
        )


def _name_step(task: str, content: Mapping[str, Any]) -> str:
    """Return the name of a task; that of a loop, a number for kfp, is in its content."""
    return content["taskInfo"]["name"] if "parameterIterator" in content else step_name(task)


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
