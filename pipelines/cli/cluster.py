"""Verbs for a cluster: `compile`, `submit`, `wait` and `status`."""

import math
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.catalogue import PIPELINES, check_pipeline, write_package
from pipelines.cli.options import (
    Nodes,
    Pipeline,
    PipelineOptions,
    PlacementName,
    Placements,
    with_bundles,
)
from pipelines.cluster.settings import ServerSettings
from pipelines.progress import TRAINS, describe_progress, read_progress
from ssd_core.cli.options import Json, print_json
from ssd_core.errors import RunFailedError, SsdError, TransientError
from ssd_core.logs import format_duration, logger, set_up_logging
from ssd_core.store.layout import Layout
from ssd_core.train_log import TrainingProgress

if TYPE_CHECKING:
    from pipelines.cluster.client import Client, RunState, StepState
    from pipelines.cluster.submission import Package

_PROGRESS_SECONDS = 60.0
"""Time between two looks at the log of a training in the store."""

RunId = Annotated[str, typer.Argument(metavar="RUN", help="The id that `submit` printed.")]

_root = typer.Option(metavar="URI", help="Keeps everything: s3://bucket/prefix.")
_experiment = typer.Option(
    envvar="KF_PIPELINES_DEFAULT_EXPERIMENT_NAME",
    metavar="NAME",
    help="Group of runs on the pages of Kubeflow; created where it does not exist.",
)
_interval = typer.Option(min=0.01, metavar="SECONDS", help="Time between two polls.")
_patience = typer.Option(min=0, metavar="SECONDS", help="Longest outage of the server.")
_start_timeout = typer.Option(min=0, metavar="SECONDS", help="For a pod that cannot start.")
_service_account = typer.Option(metavar="NAME", help="Of the pods; by default the cluster's.")


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitOptions:
    """Options of every verb that sends a pipeline to a cluster."""

    root: Annotated[str, _root]
    placement: PlacementName = "torch-cpu"
    placements: Placements = None
    nodes: Nodes = 1
    experiment: Annotated[str, _experiment] = "Default"
    service_account: Annotated[str | None, _service_account] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitOptions:
    """Times of `wait` in seconds."""

    interval: Annotated[float, _interval] = 10.0
    patience: Annotated[float, _patience] = 600.0
    start_timeout: Annotated[float, _start_timeout] = 3600.0


def compile_checked(pipeline: str, given: PipelineOptions, options: SubmitOptions) -> "Package":
    """Check every option and compile a pipeline; nothing is sent.

    Raises:
        UsageError: an option is wrong.
    """
    arguments = given.arguments(pipeline, options.root)
    from pipelines.cluster.submission import compile_package

    return compile_package(
        pipeline,
        arguments,
        placement=options.placement,
        placements=options.placements,
        nodes=options.nodes,
    )


def compile_pipeline(
    pipeline: Pipeline,
    placement: PlacementName = "torch-cpu",
    placements: Placements = None,
    nodes: Nodes = 1,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="FILE", help="Default: PIPELINE.yaml.")
    ] = None,
) -> None:
    """Compile a pipeline for one placement to the YAML of Kubeflow Pipelines.

    Equal arguments give equal bytes; no server is needed.

    Example: python -m pipelines compile training --placement torch-cuda -o training.yaml
    """
    set_up_logging()
    check_pipeline(pipeline)
    from pipelines.placement import load_placement

    path = out or Path(f"{pipeline}.yaml")
    write_package(pipeline, load_placement(placement, placements), path, nodes=nodes)
    if nodes > 1 and not PIPELINES[pipeline].trains:
        print(
            f"note: the pipeline '{pipeline}' does not train: one node is enough", file=sys.stderr
        )
    print(path)


@with_bundles
def submit(
    pipeline: Pipeline,
    given: PipelineOptions,
    options: SubmitOptions,
    server: ServerSettings,
    wait: Annotated[bool, typer.Option("--wait", help="Stay until the run is over.")] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Start another run, because the active one is lost.")
    ] = False,
) -> None:
    """Run a pipeline on a cluster; prints the id of the run and its page.

    Everything is checked before anything is sent. While the same run is
    active, the same command finds it instead of starting another; after a run
    has failed or was terminated, it continues.

    Example: python -m pipelines submit training --placement torch-cuda
    --recipe ssd300_vgg16 --dataset s3://photos/coco --root s3://detectors
    """
    package = compile_checked(pipeline, given, options)
    from pipelines.cluster import submission
    from pipelines.cluster.client import Client

    set_up_logging()
    client = Client(server)
    run = submission.submit(
        client,
        package,
        experiment=options.experiment,
        service_account=options.service_account,
        again=again,
    )
    print(run.id)
    print(client.run_url(run.id), flush=True)
    if wait:
        _watch(client, run.id, WaitOptions())


@with_bundles
def wait(
    run: RunId,
    server: ServerSettings,
    options: WaitOptions,
) -> None:
    """Wait for the end of a run, and print the state of its steps.

    Exit codes: 0 it succeeded, 3 it failed, 75 it was terminated or lost a pod
    (the same submission continues it), the server was unreachable or a pod
    could not start for too long. Ctrl-C ends the waiting, not the run.

    Example: python -m pipelines wait 8f0c1c52-6f0e-4c0b-9d6b-0d8f7f1f2a3b
    """
    from pipelines.cluster.client import Client

    set_up_logging()
    _watch(Client(server), run, options)


@with_bundles
def status(run: RunId, server: ServerSettings, as_json: Json = False) -> None:
    """Print the state of a run and of its steps, with the reason of a failure.

    A training shows its progress by the log in the store, as of its last checkpoint.

    A run that a user terminated is called so, though the server calls it
    failed. The exit code is 0 for every state; `wait` exits with that of the
    run.

    Example: python -m pipelines status 8f0c1c52-6f0e-4c0b-9d6b-0d8f7f1f2a3b
    """
    from pipelines.cluster.client import Client
    from pipelines.cluster.watch import explain

    set_up_logging()
    client = Client(server)
    found = explain(client, client.get_run(run))
    progress = None
    try:
        progress = _find_progress(found)
    except SsdError as error:
        logger.warning("cannot read the progress of the training: %s", error)
    if as_json:
        known = {"progress": asdict(progress)} if progress else {}
        print_json(asdict(found) | known | {"url": client.run_url(run)})
        return
    why = f": {found.error}" if found.error else ""
    print(f"{found.name} · {found.state}{why}")
    for step in found.steps:
        print(f"  {_describe_step(step, progress)}")
    print(client.run_url(run))


def _watch(client: "Client", run_id: str, options: WaitOptions) -> None:
    """Print changes until the run is over; raise unless it succeeded."""
    from pipelines.cluster.watch import follow

    shown: dict[str, tuple[str, TrainingProgress | None]] = {}
    progress, next_look = None, 0.0
    for run in follow(client, run_id, **asdict(options)):
        if time.monotonic() >= next_look:
            next_look = time.monotonic() + _PROGRESS_SECONDS
            try:
                progress = _find_progress(run)
            except SsdError as error:
                logger.warning("cannot read the progress of the training: %s", error)
                next_look = math.inf
        for step in run.steps:
            now = step.state, progress if _is_training(step) else None
            if shown.get(step.name) != now:
                print(_describe_step(step, progress), flush=True)
                shown[step.name] = now
    print(run.state)
    _check_end(run, client.run_url(run_id))


def _is_training(step: "StepState") -> bool:
    return step.name in TRAINS and step.state == "running"


def _find_progress(run: "RunState") -> TrainingProgress | None:
    """Return the progress of the step that trains now."""
    found = (step.name for step in run.steps if _is_training(step))
    if (step := next(found, None)) is None:
        return None
    return read_progress(Layout(str(run.arguments["data_root"])), run.id, step)


def _describe_step(step: "StepState", progress: TrainingProgress | None) -> str:
    took = "" if step.seconds is None else f" after {format_duration(step.seconds)}"
    why = f": {step.error}" if step.error else ""
    if progress and _is_training(step):
        why = f", {describe_progress(progress)}"
    return f"{step.name}: {step.state}{took}{why}"


def _check_end(run: "RunState", url: str) -> None:
    if run.state == "terminated":
        raise TransientError(f"the run {run.id} was terminated; the same submission continues")
    if run.state == "failed":
        failed = [step for step in run.steps if step.state == "failed"]
        where = f" in {', '.join(step.name for step in failed)}" if failed else ""
        reason = next((step.error for step in failed if step.error), run.error)
        message = f"the run {run.id} failed{where}{reason and f': {reason}'}; "
        if failed and all(step.may_pass for step in failed):
            raise TransientError(f"{message}the same submission continues")
        raise RunFailedError(f"{message}the log of the step is at {url}")
