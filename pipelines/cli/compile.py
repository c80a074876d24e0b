"""`python -m pipelines compile`."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from pipelines.cli.options import Pipeline, check_pipeline
from ssd_core.store.local import write_file


def compile_pipeline(
    pipeline: Pipeline,
    placement: Annotated[
        str, typer.Option(metavar="NAME", help="Where the steps run: a row of placements.yaml.")
    ] = "torch-cpu",
    placements: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Rows of your own, which come first.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="FILE", help="Default: PIPELINE.yaml.")
    ] = None,
) -> None:
    """Compile a pipeline for one placement to the YAML that Kubeflow Pipelines takes.

    Equal words give equal bytes, and no server is needed.

    Example: python -m pipelines compile training --placement torch-cuda -o training.yaml
    """
    check_pipeline(pipeline)
    from kfp.compiler import Compiler

    from pipelines.placement import load_placement
    from pipelines.training import build_training

    built = build_training(load_placement(placement, placements))
    path = out or Path(f"{pipeline}.yaml")
    with TemporaryDirectory() as folder:
        draft_path = Path(folder) / "pipeline.yaml"  # the compiler insists on the ending
        Compiler().compile(built, str(draft_path))
        write_file(path, draft_path.read_bytes())
    print(path)
