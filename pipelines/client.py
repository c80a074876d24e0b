"""What the verbs ask of Kubeflow Pipelines: experiments, runs and schedules."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import kfp_server_api

from pipelines.connection import Connection
from pipelines.package import Package
from pipelines.run_state import RunState, read_state
from pipelines.server_settings import ServerSettings
from ssd_core.errors import UsageError

_PAGE_SIZE = 100
_RUN_ID = re.compile(r"[\w-]+", re.ASCII)
_EQUALS = 1
"""Of a filter, as kfp.Client writes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A pipeline that is run again and again."""

    id: str
    name: str
    cron: str
    pipeline: str
    is_enabled: bool


class Client:
    """One server; every method raises what `Connection.ask` does."""

    def __init__(self, settings: ServerSettings) -> None:
        """Connect, so that whatever is wrong with the settings is known before anything is sent."""
        self._connection = Connection(settings)
        self._namespace = settings.namespace
        self._ui = (settings.ui_endpoint or self._connection.endpoint).rstrip("/")
        api = self._connection.api
        self._experiments = kfp_server_api.ExperimentServiceApi(api)
        self._runs = kfp_server_api.RunServiceApi(api)
        self._recurring_runs = kfp_server_api.RecurringRunServiceApi(api)
        health = self._ask(kfp_server_api.HealthzServiceApi(api).healthz_service_get_healthz)
        if health.multi_user and not self._namespace:
            raise UsageError(
                f"{self._connection.endpoint} has users; name your profile by --namespace"
            )

    def ensure_experiment(self, name: str) -> str:
        """Return the id of the experiment called `name`, made where there is none."""
        listed = self._ask(
            self._experiments.experiment_service_list_experiments,
            filter=_named(name),
            **self._where(),
        )
        for found in listed.experiments or ():
            if found.display_name == name:
                return str(found.experiment_id)
        wanted = kfp_server_api.V2beta1Experiment(display_name=name, namespace=self._namespace)
        made = self._ask(self._experiments.experiment_service_create_experiment, wanted)
        return str(made.experiment_id)

    def create_run(
        self, package: Package, *, name: str, experiment: str, service_account: str | None
    ) -> RunState:
        """Start a run."""
        wanted = kfp_server_api.V2beta1Run(
            display_name=name,
            experiment_id=experiment,
            service_account=service_account,
            **_specification(package),
        )
        return read_state(self._ask(self._runs.run_service_create_run, wanted))

    def get_run(self, run_id: str) -> RunState:
        """Return how a run stands.

        Raises:
            UsageError: no run can have this id.
        """
        if not _RUN_ID.fullmatch(run_id):
            raise UsageError(f"'{run_id}' is no id of a run; `submit` prints it")
        return read_state(self._ask(self._runs.run_service_get_run, run_id))

    def find_runs(self, name: str, experiment: str) -> list[RunState]:
        """Return the runs of this name, the newest first."""
        listed = self._ask(
            self._runs.run_service_list_runs,
            experiment_id=experiment,
            filter=_named(name),
            sort_by="created_at desc",
            page_size=_PAGE_SIZE,
        )
        runs = (run for run in listed.runs or () if run.display_name == name)
        return [read_state(run) for run in runs]

    def list_schedules(self) -> list[Schedule]:
        """Return the schedules of the namespace by name."""
        listed = self._all_pages(
            self._recurring_runs.recurring_run_service_list_recurring_runs, "recurring_runs"
        )
        return sorted(map(_read_schedule, listed), key=lambda schedule: schedule.name)

    def create_schedule(
        self,
        package: Package,
        *,
        name: str,
        cron: str,
        experiment: str,
        service_account: str | None,
    ) -> Schedule:
        """Make an enabled schedule: one run at a time, and none is made up for later."""
        wanted = kfp_server_api.V2beta1RecurringRun(
            display_name=name,
            experiment_id=experiment,
            service_account=service_account,
            trigger=kfp_server_api.V2beta1Trigger(
                cron_schedule=kfp_server_api.V2beta1CronSchedule(cron=cron)
            ),
            mode=kfp_server_api.RecurringRunMode.ENABLE,
            max_concurrency="1",
            no_catchup=True,
            **_specification(package),
        )
        create = self._recurring_runs.recurring_run_service_create_recurring_run
        return _read_schedule(self._ask(create, wanted))

    def delete_schedule(self, schedule: Schedule) -> None:
        """Remove a schedule; its runs stay."""
        self._ask(self._recurring_runs.recurring_run_service_delete_recurring_run, schedule.id)

    def run_url(self, run_id: str) -> str:
        """Return the page of a run."""
        return f"{self._ui}/#/runs/details/{run_id}"

    def schedule_url(self, schedule: Schedule) -> str:
        """Return the page of a schedule."""
        return f"{self._ui}/#/recurringrun/details/{schedule.id}"

    def _ask(self, call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        return self._connection.ask(call, *arguments, **options)

    def _where(self) -> dict[str, str]:
        return {"namespace": self._namespace} if self._namespace else {}

    def _all_pages(self, call: Callable[..., Any], field: str) -> Sequence[Any]:
        found: list[Any] = []
        token = ""
        while True:
            options = self._where() | ({"page_token": token} if token else {})
            page = self._ask(call, page_size=_PAGE_SIZE, **options)
            found += getattr(page, field) or ()
            token = page.next_page_token
            if not token:
                return found


def _named(name: str) -> str:
    predicate = {"operation": _EQUALS, "key": "display_name", "stringValue": name}
    return json.dumps({"predicates": [predicate]})


def _specification(package: Package) -> dict[str, Any]:
    return {
        "pipeline_spec": package.content,
        "runtime_config": kfp_server_api.V2beta1RuntimeConfig(parameters=package.arguments),
    }


def _read_schedule(found: Any) -> Schedule:
    cron = found.trigger and found.trigger.cron_schedule and found.trigger.cron_schedule.cron
    content = found.pipeline_spec or {}
    specification = content.get("pipeline_spec", content)
    return Schedule(
        id=found.recurring_run_id,
        name=found.display_name or "",
        cron=cron or "",
        pipeline=specification.get("pipelineInfo", {}).get("name", ""),
        is_enabled=found.status == kfp_server_api.V2beta1RecurringRunStatus.ENABLED,
    )
