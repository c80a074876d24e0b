"""The step that learns on several nodes: it has a cluster run `train`, and ends as that ends."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ssd_core.config import TrainConfig, parse_section
from ssd_core.data.batches.loader import check_batch_size
from ssd_core.errors import DataError, UsageError
from ssd_core.launch.command import train_command
from ssd_core.launch.job import JobRequest, job_name
from ssd_core.launch.placement import JobPlacement
from ssd_core.recipes import load_recipe
from ssd_core.stages.train import finished, training_id
from ssd_core.store import Location
from ssd_core.structures import StageResult

TASK = "train"


@dataclass(frozen=True, slots=True, kw_only=True)
class Team:
    """Who trains together."""

    run: str
    """Id of the pipeline run; with the name of the task it names the job."""
    nodes: int
    """Pods, each with the accelerators of the placement."""
    framework: str
    device: str
    placement: Mapping[str, Any]
    """A row of placements.yaml."""


def run(
    config: Mapping[str, Any], data_dir: Location, out_dir: Location, *, recipe: str, team: Team
) -> StageResult:
    """Train on several pods of the cluster that this process runs in.

    The job's pods run `ssd train` with the same configuration, data and output. A training that is
    finished returns at once; a job of the same run and task is adopted.

    Args:
        config: the `train` section.
        data_dir: output of `convert`, where every pod can read it.
        out_dir: place of this one training, where every pod can write.
        recipe: name of the recipe that the configuration comes from.
        team: the pods.

    Raises:
        UsageError: something that cannot work on several nodes, or that the cluster refuses.
        SsdError: what the training itself ended with.
        SurroundingsError: the job was deleted, suspended or too late, or the API stays away.
        StoppedError: SIGTERM or Ctrl-C; a job that this process made is deleted.
    """
    training = training_id(config, data_dir, team.framework)
    if result := finished(out_dir, training):
        return result
    job = plan(config, data_dir, out_dir, recipe=recipe, team=team)
    _launch(job)
    if result := finished(out_dir, training):
        return result
    raise DataError(
        f"job {job.name} has succeeded, but {out_dir} holds no model of it; expected images of one "
        "build for the launcher and its pods"
    )


def plan(
    config: Mapping[str, Any], data_dir: Location, out_dir: Location, *, recipe: str, team: Team
) -> JobRequest:
    """Return the job that `run` would ask for.

    Raises:
        UsageError: something that cannot work on several nodes.
    """
    section = parse_section(TrainConfig, config, "train")
    placement = parse_section(JobPlacement, team.placement, "placement")
    if placement.job is None:
        raise UsageError("placement: no job, so it says nothing about more than one node")
    for what, place in {"the data": data_dir, "the output": out_dir}.items():
        if place.local is not None:
            raise UsageError(f"{what} lies at {place}, which other nodes cannot see; use s3://")
    check_batch_size(section.batch_size, team.nodes * placement.processes)
    arguments = train_command(
        section.model_dump(mode="json"),
        load_recipe(recipe).train.model_dump(mode="json"),
        data=str(data_dir),
        out=str(out_dir),
        recipe=recipe,
        framework=team.framework,
        device=team.device,
    )
    return JobRequest(
        name=job_name(team.run, TASK),
        run=team.run,
        framework=team.framework,
        arguments=arguments,
        nodes=team.nodes,
        placement=placement,
        spec=placement.job,
    )


def _launch(job: JobRequest) -> None:
    try:
        from ssd_core.launch.cluster import Cluster, connect, owner_references
        from ssd_core.launch.run import run_job
    except ModuleNotFoundError as error:
        if error.name != "kubernetes":
            raise
        raise UsageError(
            "the client of Kubernetes is not installed here: pip install '.[launch]' in the "
            "checkout"
        ) from None
    run_job(Cluster(*connect()), job, owner_references())
