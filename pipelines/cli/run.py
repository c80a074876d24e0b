"""`python -m pipelines run`."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, get_args

import typer

from pipelines.cli.options import Pipeline, check_pipeline
from ssd_core.cli.options import Assignments, Device
from ssd_core.config import DeviceName
from ssd_core.data.source import open_source
from ssd_core.errors import unlisted_name
from ssd_core.stages import resolve_config
from ssd_core.store import local_path


def run(
    pipeline: Pipeline,
    recipe: Annotated[str, typer.Option(metavar="NAME", help="See `ssd recipes`.")],
    dataset: Annotated[
        str, typer.Option(metavar="DIR", help="Labelled photographs, as `ssd convert` takes them.")
    ],
    root: Annotated[
        Path, typer.Option(metavar="DIR", help="Keeps shards, trainings and results.")
    ] = Path("out"),
    assignments: Assignments = None,
    device: Device = "auto",
) -> None:
    """Run a pipeline on this machine, each step in a process of its own.

    Stopped or killed at any moment, the same command continues.

    Example: python -m pipelines run training --recipe demo --dataset examples/bccd
    """
    check_pipeline(pipeline)
    if device not in get_args(DeviceName):
        raise unlisted_name("device", device, get_args(DeviceName))
    resolve_config.run(recipe, assignments or ())
    open_source(dataset)
    arguments = {
        "dataset": str(local_path(dataset).absolute()),
        "recipe": recipe,
        "data_root": str(root.absolute()),
        "overrides": dict(text.split("=", 1) for text in assignments or ()),
    }
    from pipelines.local import run_training

    print(f"{pipeline} · {recipe} · {dataset} → {root}", flush=True)
    try:
        done = run_training(arguments, device, sys.stdout)
    except KeyboardInterrupt:
        print("stopped; the same command continues", file=sys.stderr)
        raise
    print(f"log {_relative(done.log_path)}")
    print(f"{format_figures(done.metrics)} · report {_relative(done.report_path)}")


def format_figures(metrics: Mapping[str, Mapping[str, float]]) -> str:
    """Write accuracy and speed, from the metrics by step; a dash where nothing was measured.

    A val split whose boxes are all crowds has no AP50.
    """
    ap50, speed = metrics["evaluate"].get("ap50"), metrics["benchmark"]["images_per_second"]
    return f"AP50 {'–' if ap50 is None else f'{ap50:.2f}'} · {speed:.0f} images/s"


def _relative(path: Path) -> Path:
    """Return the path as seen from here, where that is shorter."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
