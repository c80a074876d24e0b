"""A pipeline submitted to a cluster, once or on a schedule."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kfp_server_api
from google.protobuf.json_format import MessageToDict

from pipelines.catalogue import PIPELINES, build
from pipelines.cluster.client import Client, RunState, Schedule
from pipelines.placement import load_placement
from ssd_core.backends.formats import check_writer
from ssd_core.data.batches.loader import check_world_size
from ssd_core.errors import TransientError, UsageError
from ssd_core.logs import logger
from ssd_core.stages import resolve_config
from ssd_core.store import Location
from ssd_core.store.known_file import digest_json

_PLACES = {"dataset": "--dataset", "model": "--model", "data_root": "--root"}
"""Parameters with a path or URI, which the steps on the cluster must be able to read."""
_SUBJECTS = ("recipe", "series", "model")
"""Parameters that describe a run best, in this order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A compiled pipeline with its arguments."""

    pipeline: str
    content: Mapping[str, Any]
    """`pipeline_spec` and `platform_spec`, as kfp.Client sends them."""
    arguments: Mapping[str, Any]

    @property
    def name(self) -> str:
        """A name shared by equal packages only."""
        digest = digest_json([self.content, self.arguments])[:12]
        subject = next((self.arguments[name] for name in _SUBJECTS if name in self.arguments), "")
        return f"{self.pipeline} {subject.rpartition('/')[2]} {digest}"

    def specification(self) -> dict[str, Any]:
        """Return the package as the fields of a run or schedule."""
        config = kfp_server_api.V2beta1RuntimeConfig(parameters=self.arguments)
        return {"pipeline_spec": self.content, "runtime_config": config}


def compile_package(
    pipeline: str,
    arguments: Mapping[str, Any],
    *,
    placement: str,
    placements: Path | None,
    nodes: int,
) -> Package:
    """Compile a pipeline for a cluster.

    Args:
        pipeline: its name.
        arguments: its parameters, as `PipelineOptions.arguments` returns them.
        placement: name of a row of placements.yaml or of the user's file.
        placements: the user's file.
        nodes: machines that train together.

    Raises:
        UsageError: an unknown placement, a path that only this machine can read, a batch that
            does not divide over the devices, or a format that the framework does not write.
    """
    for name, flag in _PLACES.items():
        if name in arguments:
            _check_uri(flag, arguments[name])
    place = load_placement(placement, placements)
    if PIPELINES[pipeline].trains:
        recipe = resolve_config.run(arguments["recipe"], arguments["overrides"])
        check_world_size(recipe.train, nodes * place.processes)
        if "export_format" in arguments:
            check_writer(arguments["export_format"], place.framework)
    built = build(pipeline, place, nodes=nodes)
    content = {
        "pipeline_spec": MessageToDict(built.pipeline_spec),
        "platform_spec": MessageToDict(built.platform_spec),
    }
    return Package(pipeline=pipeline, content=content, arguments=arguments)


def submit(
    client: Client,
    package: Package,
    *,
    experiment: str,
    service_account: str | None,
    again: bool = False,
) -> RunState:
    """Start a run, or return the newest one of the same package if it is active.

    The name of a run, up to its number, identifies its package, so a submission whose answer was
    lost is found when it is repeated. Two trainings of the same model would only hinder each other.

    Args:
        client: the server.
        package: the pipeline and its arguments.
        experiment: name of the group of runs.
        service_account: of the pods; None for that of the cluster.
        again: start a run also while one seems to be active, because that one is lost.

    Raises:
        TransientError: the server is unreachable; submitting again is safe.
    """
    experiment_id = client.ensure_experiment(experiment)
    earlier = client.find_runs(package.name, experiment_id)
    newest = next(iter(earlier), None)
    if newest and not newest.is_stopping and not again:
        logger.info("the same run is already active; if it is lost, --again starts another")
        return newest
    try:
        return client.create_run(
            package.specification(),
            display_name=f"{package.name} #{len(earlier) + 1}",
            experiment_id=experiment_id,
            service_account=service_account,
        )
    except TransientError as error:
        raise TransientError(
            f"{error}; if the run has started, the same command finds it"
        ) from None


def put_schedule(
    client: Client,
    package: Package,
    *,
    name: str,
    cron: str,
    experiment: str,
    service_account: str | None,
) -> Schedule:
    """Create a schedule, and then remove the older ones of its name, so that one always exists.

    After a failure in between, the same command finishes the job.

    Raises:
        TransientError: the server is unreachable; older schedules may be left.
    """
    older = [schedule for schedule in client.list_schedules() if schedule.name == name]
    made = client.create_schedule(
        package.specification(),
        cron,
        display_name=name,
        experiment_id=client.ensure_experiment(experiment),
        service_account=service_account,
    )
    try:
        for run in remove_schedules(client, older):
            logger.warning(
                "the older schedule '%s' is disabled and stays until its run %s is over; the same "
                "command removes it then",
                name,
                run,
            )
    except TransientError as error:
        raise TransientError(
            f"{error}; the new schedule '{name}' exists, but an older one is still active; "
            "the same command removes it"
        ) from None
    return made


def remove_schedules(client: Client, schedules: Sequence[Schedule]) -> list[str]:
    """Disable schedules, and delete those without an active run; return the ids of such runs.

    The server would kill an active run together with its schedule.
    """
    for schedule in schedules:
        client.disable_schedule(schedule)
    active = {schedule.id: client.active_runs(schedule) for schedule in schedules}
    for schedule in schedules:
        if not active[schedule.id]:
            client.delete_schedule(schedule)
    return [run for runs in active.values() for run in runs]


def _check_uri(flag: str, uri: str) -> None:
    if not uri.startswith("s3://"):
        raise UsageError(f"{flag} {uri}: a cluster cannot read it; expected s3://bucket/prefix")
    Location.parse(uri)
