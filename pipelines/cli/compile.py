"""`python -m pipelines compile`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from pipelines.catalogue import PIPELINES, check_pipeline, write_package
from pipelines.cli.options import Nodes, Pipeline, PlacementName, Placements


def compile_pipeline(
    pipeline: Pipeline,
    placement: PlacementName = "torch-cpu",
    placements: Placements = None,
    nodes: Nodes = 1,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="FILE", help="Default: PIPELINE.yaml.")
    ] = None,
) -> None:
    """Compile a pipeline for one placement to the YAML that Kubeflow Pipelines takes.

    Equal words give equal bytes, and no server is needed.

    Example: python -m pipelines compile training --placement torch-cuda -o training.yaml
    """
    check_pipeline(pipeline)
    from pipelines.placement import load_placement

    path = out or Path(f"{pipeline}.yaml")
    write_package(pipeline, load_placement(placement, placements), path, nodes=nodes)
    if nodes > 1 and not PIPELINES[pipeline].trains:
        print(
            f"note: the pipeline '{pipeline}' trains nothing: one node is enough", file=sys.stderr
        )
    print(path)
