"""`python -m pipelines component`."""

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
    from pipelines.component_arguments import Words, find_record
    from pipelines.docker import check_image, docker_line, run_line, write_step
    from pipelines.docker_component import prepare_step

    record = find_record(name, from_run, root) if from_run else None
    words = Words(inputs=given[0], parameters=given[1])
    out_dir = out or Path("out/components") / name
    step = prepare_step(name, image, words, out_dir, record=record, options=docker_options or ())
    check_image(image)
    write_step(step)
    print(docker_line(step), flush=True)
    run_line(step)
    print(out_dir)


def _pairs(option: str, words: Sequence[str] | None) -> dict[str, str]:
    for word in words or ():
        if "=" not in word:
            raise UsageError(f"{option} {word}: expected NAME=VALUE")
    return dict(word.split("=", 1) for word in words or ())
