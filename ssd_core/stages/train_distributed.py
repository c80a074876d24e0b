"""Train on several nodes of a cluster: run `ssd train` in a job and wait for its result."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ssd_core.config import parse_section
from ssd_core.data.batches.loader import check_world_size
from ssd_core.errors import UsageError
from ssd_core.launch.job import JobPlacement, JobRequest, job_name
from ssd_core.stages import train
from ssd_core.stages.frame import Invocation
from ssd_core.stages.train import Training
from ssd_core.store import Location
from ssd_core.structures import StageResult
from ssd_core.training.ownership import claim_directory

TASK = "train"
RECIPE_FILE = "recipe.json"
"""Name of the recipe in the directory of the training, where every pod reads it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Team:
    """The pods that train together."""

    run: str
    """Id of the pipeline run; part of the name of the job."""
    nodes: int
    """Number of pods, each with the accelerators of the placement."""
    placement: Mapping[str, Any]
    """A row of placements.yaml."""


def run(training: Training, out_dir: Location, team: Team) -> StageResult:
    """Train on several pods of the cluster that this process runs in.

    The pods run `ssd train` with the same recipe, data and output directory, all in a store. A
    finished training returns immediately; an existing job of the same run is adopted.

    Raises:
        UsageError: a setting that does not work on several nodes, or that the cluster rejects.
        SsdError: the error of the training itself.
        StoppedError: SIGTERM or Ctrl-C; a job that this process created is deleted.
    """

    def start() -> None:
        job = plan(training, out_dir, team)
        claim_directory(out_dir, training.identity)
        out_dir.put(RECIPE_FILE, training.recipe.model_dump_json(indent=2).encode())
        _launch(job)

    return training.run_once(out_dir, start)


def request(training: Training, team: Team) -> Invocation:
    """Return the request to train on several pods."""
    options = {"nodes": team.nodes, "placement": team.placement}
    single = train.request(training)
    return replace(single, options={**single.options, **options})


def plan(training: Training, out_dir: Location, team: Team) -> JobRequest:
    """Return the job that `run` submits.

    Raises:
        UsageError: a setting that does not work on several nodes.
    """
    placement = parse_section(JobPlacement, team.placement, "placement")
    places = {"the data": training.data_dir, "the output": out_dir}
    if source := training.recipe.train.init.source:
        places["the initial weights"] = Location.parse(source)
    for name, directory in places.items():
        if directory.local is not None:
            raise UsageError(f"{name} is at {directory}, which other nodes cannot read; use s3://")
    check_world_size(training.recipe.train, team.nodes * placement.processes)
    return JobRequest(
        name=job_name(team.run, TASK),
        run=team.run,
        framework=training.framework,
        arguments=training.command(out_dir, str(out_dir / RECIPE_FILE)),
        nodes=team.nodes,
        placement=placement,
    )


def _launch(job: JobRequest) -> None:
    from ssd_core.launch.cluster import Cluster, connect, owner_references
    from ssd_core.launch.run import run_job

    run_job(Cluster(*connect()), job, owner_references())
