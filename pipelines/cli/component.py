"""`python -m pipelines component`."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from ssd_core.errors import UsageError


def component(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A folder of components/.")],
    image: Annotated[str, typer.Option(metavar="IMAGE", help="Where it runs; see `make images`.")],
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
            help="Repeat this step of a run: its id, or where its records lie; also s3://...",
        ),
    ] = None,
    root: Annotated[
        str, typer.Option(metavar="DIR", help="What the run of that id was given as its root.")
    ] = "out",
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Default: out/components/NAME.")
    ] = None,
    docker_options: Annotated[
        list[str] | None, typer.Argument(metavar="-- OPTION...", help="Options of `docker run`.")
    ] = None,
) -> None:
    """Run one component in its container, on files of this machine.

    The first line is the plain `docker run` command that does the same.

    Example: python -m pipelines component convert --image ssd-on-kubeflow/tools:0.1.0
    --param source=examples/bccd --param config={}
    """
    given = _pairs("--input", inputs), _pairs("--param", parameters)
    from pipelines.execution.component import Given, find_record, prepare_component
    from pipelines.execution.docker import check_image, launch_container
    from pipelines.execution.steps import run_step, write_step

    record = find_record(name, from_run, root) if from_run else None
    texts = Given(inputs=given[0], parameters=given[1])
    out_dir = out or Path("out/components") / name
    step = prepare_component(name, image, texts, out_dir, record=record)
    check_image(image)
    write_step(step)
    launch = launch_container(step, options=docker_options or ())
    print(launch.line, flush=True)
    run_step(step, launch, on_line=sys.stderr.write)
    print(out_dir)


def _pairs(option: str, words: Sequence[str] | None) -> dict[str, str]:
    for word in words or ():
        if "=" not in word:
            raise UsageError(f"{option} {word}: expected NAME=VALUE")
    return dict(word.split("=", 1) for word in words or ())
