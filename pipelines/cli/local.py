"""Verbs for this machine: `run` and `component`."""

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from pipelines.catalogue import build
from pipelines.cli.options import DEFAULT_ROOT, Pipeline, PipelineOptions, with_bundles
from pipelines.results import format_figures, read_results
from ssd_core.backends.formats import check_writer, choose_framework
from ssd_core.cli.options import Device, Framework
from ssd_core.errors import UsageError
from ssd_core.model_dir import MODEL_DIR
from ssd_core.store import LocalDirectory, Location
from ssd_core.store.layout import Layout

_root = typer.Option(metavar="DIR", help="Keeps shards, trainings and results; also s3://...")
_docker = typer.Option("--docker", help="Run each step in its image; see `make images`.")


@with_bundles
def run(
    pipeline: Pipeline,
    given: PipelineOptions,
    root: Annotated[str, _root] = DEFAULT_ROOT,
    framework: Framework = "torch",
    device: Device = "auto",
    docker: Annotated[bool, _docker] = False,
) -> None:
    """Run a pipeline on this machine, each step in its own process or container.

    Stopped or killed at any moment, the same command continues.

    Example: python -m pipelines run training --recipe demo --dataset examples/bccd
    """
    arguments = given.arguments(pipeline, root)
    arguments |= _check_inputs(arguments)
    if given.export_format:
        (check_writer if docker else choose_framework)(given.export_format, framework)
    from pipelines.execution.run import choose_runner, run_pipeline

    placement, launcher = choose_runner(framework, device, docker=docker, stream=sys.stdout)
    subjects = f"{given.recipe or given.model} · {given.dataset or given.series}"
    print(f"{pipeline} · {subjects} → {root}", flush=True)
    done = run_pipeline(build(pipeline, placement), arguments, launcher, sys.stdout)
    print(f"log {_relative(LocalDirectory(done.log_path))}")
    _print_results(root, done.name, framework)


def component(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A directory of components/.")],
    image: Annotated[str, typer.Option(metavar="IMAGE", help="See `make images`.")],
    inputs: Annotated[
        list[str] | None,
        typer.Option("--input", metavar="NAME=PATH", help="An artifact; repeat for more."),
    ] = None,
    parameters: Annotated[
        list[str] | None,
        typer.Option(
            "--param", metavar="NAME=VALUE", help="JSON, or text, or @FILE; repeat for more."
        ),
    ] = None,
    from_run: Annotated[
        str | None,
        typer.Option(
            metavar="RUN_OR_DIR",
            help="Repeat this step of a run: its id, or the directory of its records; also s3://...",
        ),
    ] = None,
    root: Annotated[
        str, typer.Option(metavar="DIR", help="Root of the run with that id.")
    ] = DEFAULT_ROOT,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Default: out/components/NAME.")
    ] = None,
    docker_options: Annotated[
        list[str] | None, typer.Argument(metavar="-- OPTION...", help="Options of `docker run`.")
    ] = None,
) -> None:
    """Run one component in its container, on files of this machine.

    The first line is the plain `docker run` command that does the same. The output of kfp goes to
    log.txt in the output directory.

    Example: python -m pipelines component convert --image ssd-on-kubeflow/tools:0.1.0
    --param source=examples/bccd --param recipe={}
    """
    artifacts, values = _pairs("--input", inputs), _pairs("--param", parameters)
    from pipelines.execution.component import find_record, prepare_component
    from pipelines.execution.docker import check_image, launch_container
    from pipelines.execution.processes import Listener
    from pipelines.execution.steps import run_step, write_step

    record = find_record(name, from_run, root) if from_run else None
    out_dir = out or Path("out/components") / name
    step = prepare_component(
        name, image, out_dir, inputs=artifacts, parameters=values, record=record
    )
    check_image(image)
    write_step(step)
    launch = launch_container(step, options=docker_options or ())
    print(launch.line, flush=True)
    with (out_dir / "log.txt").open("w") as log:
        run_step(step, launch, Listener(), stdout=log)
    print(out_dir)


def _pairs(option: str, texts: Sequence[str] | None) -> dict[str, str]:
    for text in texts or ():
        if "=" not in text:
            raise UsageError(f"{option} {text}: expected NAME=VALUE")
    return dict(text.split("=", 1) for text in texts or ())


def _check_inputs(arguments: Mapping[str, Any]) -> dict[str, str]:
    """Return the inputs as absolute paths or URIs, after opening each.

    Raises:
        UsageError: an input does not exist or is of another kind.
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


def _print_results(root: str, name: str, framework: str) -> None:
    layout = Layout(root)
    found, report_dir = read_results(layout, name), layout.run(name, "report")
    if training_id := found.get("train", {}).get("metadata", {}).get("training_id"):
        model = _relative(layout.training(training_id) / MODEL_DIR)
        print(f"model {model}")
        program = _relative(LocalDirectory(Path(sys.executable).with_name("ssd")))
        words = [program, "predict", "--model", model, "IMAGES", "--out", "found"]
        words += [] if framework == "torch" else ["--framework", framework]
        print(f"next: {shlex.join(words)}")
    if exported := found.get("export", {}).get("file"):
        print(f"exported {_relative(layout.run(name, 'export') / exported)}")
    python = _relative(LocalDirectory(Path(sys.executable)))
    place = [] if root == DEFAULT_ROOT else ["--root", root]
    print(f"figures: {shlex.join([python, '-m', 'pipelines', 'results', name, *place])}")
    print(f"results {_relative(report_dir.parent)}")
    last = [format_figures(found)]
    if "report" in found:
        from ssd_core.stages.report import REPORT_FILE

        last.append(f"report {_relative(report_dir / REPORT_FILE)}")
    print(" · ".join(last))


def _relative(place: Location) -> str:
    """Return a local path relative to the working directory if it lies below it."""
    if place.local is not None and place.local.is_relative_to(Path.cwd()):
        return str(place.local.relative_to(Path.cwd()))
    return str(place)
