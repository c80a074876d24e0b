"""`python -m pipelines run`."""

import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from pipelines.catalogue import build
from pipelines.cli.options import (
    Dataset,
    Model,
    ModelName,
    ModelVersion,
    Pipeline,
    Recipe,
    Series,
    pipeline_arguments,
)
from pipelines.results import read_results
from ssd_core.cli.options import Assignments, Device, Framework
from ssd_core.config import DeviceName
from ssd_core.errors import unlisted_name
from ssd_core.metrics import summarize
from ssd_core.store import LocalDirectory, Location
from ssd_core.store.places import Places

if TYPE_CHECKING:
    from pipelines.execution.steps import Launcher
    from pipelines.placement import Placement


def run(
    pipeline: Pipeline,
    recipe: Recipe = None,
    dataset: Dataset = None,
    model: Model = None,
    series: Series = None,
    root: Annotated[
        str, typer.Option(metavar="DIR", help="Keeps shards, trainings and results; also s3://...")
    ] = "out",
    model_name: ModelName = None,
    model_version: ModelVersion = None,
    assignments: Assignments = None,
    framework: Framework = "torch",
    device: Device = "auto",
    docker: Annotated[
        bool, typer.Option("--docker", help="Run each step in its image; see `make images`.")
    ] = False,
) -> None:
    """Run a pipeline on this machine, each step in a process or a container of its own.

    Stopped or killed at any moment, the same command continues.

    Example: python -m pipelines run training --recipe demo --dataset examples/bccd
    """
    words = {"recipe": recipe, "dataset": dataset, "model": model, "series": series}
    words |= {"model_name": model_name, "model_version": model_version}
    arguments = pipeline_arguments(pipeline, root, assignments, **words)
    if device not in get_args(DeviceName):
        raise unlisted_name("device", device, get_args(DeviceName))
    arguments |= _find_inputs(arguments)
    placement, launcher = _choose_runner(docker, framework, device)
    from pipelines.execution.run import run_pipeline

    print(f"{pipeline} · {recipe or model} · {dataset or series} → {root}", flush=True)
    try:
        done = run_pipeline(build(pipeline, placement), arguments, launcher, sys.stdout)
    except KeyboardInterrupt:
        print("stopped; the same command continues", file=sys.stderr)
        raise
    print(f"log {_relative(LocalDirectory(done.log_path))}")
    _print_results(Places(arguments["data_root"]), done.name)


def format_figures(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Describe accuracy and speed, from the results by step."""
    figures = summarize("evaluate", found["evaluate"]["metrics"]) if "evaluate" in found else []
    if "benchmark" in found:
        rate, *latency = summarize("benchmark", found["benchmark"]["metrics"])
        if "verdict" in found["benchmark"]:
            rate += f" ({found['benchmark']['verdict']['word']})"
        figures += [rate, *latency]
    return " · ".join(figures)


def _print_results(places: Places, name: str) -> None:
    found, report_dir = read_results(places, name), places.run(name, "report")
    print(f"results {_relative(report_dir.parent)}")
    last = [format_figures(found)]
    if "report" in found:
        from ssd_core.stages.report import REPORT_FILE

        last.append(f"report {_relative(report_dir / REPORT_FILE)}")
    print(" · ".join(last))


def _find_inputs(arguments: Mapping[str, Any]) -> dict[str, str]:
    """Return the inputs by names that mean the same to the steps, all of them looked at.

    Raises:
        UsageError: one is not there, or is no such thing.
    """
    from ssd_core.data.sources import open_source
    from ssd_core.model_dir import read_description

    found = {}
    if "dataset" in arguments:
        open_source(arguments["dataset"])
        found["dataset"] = Location.parse(arguments["dataset"]).uri
    if "model" in arguments:
        read_description(Location.parse(arguments["model"]))
        found["model"] = Location.parse(arguments["model"]).uri
    return found


def _relative(place: Location) -> str:
    """Return a local path relative to the working directory if it lies below it."""
    if place.local is not None and place.local.is_relative_to(Path.cwd()):
        return str(place.local.relative_to(Path.cwd()))
    return str(place)


def _choose_runner(docker: bool, framework: str, device: str) -> "tuple[Placement, Launcher]":
    """Return the placement of the steps and the launcher that runs one, images checked."""
    from pipelines.execution.docker import DEVICE_OPTIONS, check_image, launch_container
    from pipelines.execution.run import docker_placement, process_placement
    from pipelines.execution.steps import launch_process, progress_variable

    progress = progress_variable(sys.stdout)
    if not docker:
        return process_placement(framework, device), partial(launch_process, variables=[progress])
    placement = docker_placement(framework, device)
    for image in {placement.tools_image, placement.convert_image, placement.image} - {None}:
        check_image(str(image))
    options = [*DEVICE_OPTIONS[device], "--env", progress]
    return placement, partial(launch_container, options=options)
