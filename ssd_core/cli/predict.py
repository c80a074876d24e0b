"""The command that detects objects in images and videos."""

import sys
from typing import Annotated, Any, get_args

import typer
from pydantic import ValidationError

from ssd_core.cli.options import Device, Json, Model, Out, Runtime, Step, finish, one_of
from ssd_core.config import PredictConfig, PredictionFormat
from ssd_core.config.section import first_problem

Images = Annotated[
    list[str],
    typer.Argument(
        metavar="IMAGE",
        help="Images, folders to search for them, 'quoted globs', or videos; - reads a list of "
        "paths from standard input. Images may be s3://bucket/prefix.",
    ),
]

_DEFAULT = PredictConfig()


def _parse(**values: Any) -> PredictConfig:
    """Return the configuration; an error names the option, which is the field in kebab case."""
    try:
        return PredictConfig.model_validate(values)
    except ValidationError as error:
        name, _, problem = first_problem(error).partition(": ")
        option = f"'--{name.replace('_', '-')}'"
        raise typer.BadParameter(problem, param_hint=option) from None


def predict(
    model: Model,
    images: Images,
    out: Out,
    score: Annotated[
        float, typer.Option(metavar="SCORE", help="Lowest score of a detection.")
    ] = _DEFAULT.score,
    tile: Annotated[
        int | None,
        typer.Option(
            metavar="PIXELS",
            help="Also search larger images in square tiles of this side, to find smaller objects.",
        ),
    ] = None,
    tile_overlap: Annotated[
        float,
        typer.Option(
            metavar="FRACTION", help="Least overlap of neighbouring tiles, as a fraction of a tile."
        ),
    ] = _DEFAULT.tile_overlap,
    batch_size: Annotated[
        int, typer.Option(metavar="N", help="Images or tiles per forward pass.")
    ] = _DEFAULT.batch_size,
    format: Annotated[
        str,
        one_of(
            "format",
            get_args(PredictionFormat),
            "predictions.jsonl, detections.json as COCO results, or labels/ as YOLO text files.",
        ),
    ] = _DEFAULT.format,
    leaves_out_pictures: Annotated[
        bool, typer.Option("--no-pictures", help="Write no copies with the boxes drawn.")
    ] = False,
    step: Step = None,
    framework: Runtime = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Detect objects in images and videos: a file of detections, and copies with the boxes drawn.

    Example: ssd predict --model trained image.jpg 'photos/**/*.png' clip.mp4 --out found
    """
    from ssd_core.stages import predict as stage
    from ssd_core.stages.prediction.formats import WRITERS
    from ssd_core.stages.prediction.images import list_places
    from ssd_core.training.checkpoints import find_checkpoint

    config = _parse(
        score=score,
        batch_size=batch_size,
        tile=tile,
        tile_overlap=tile_overlap,
        format=format,
        has_pictures=not leaves_out_pictures,
    )
    places = list(list_places(images, sys.stdin))
    model = find_checkpoint(model, step)
    result = stage.run(config, model, places, out, framework=framework, device=device)
    finish(result, out / WRITERS[config.format][0], as_json=as_json)
