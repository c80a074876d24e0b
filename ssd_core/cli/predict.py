"""The command that detects objects in images and videos."""

import sys
from typing import Annotated, get_args

import typer

from ssd_core.cli.options import Device, Json, Model, Out, Runtime, Step, finish, one_of
from ssd_core.config import PredictConfig, PredictionFormat, parse_section

_DEFAULT = PredictConfig()


def _check_score(score: float) -> float:
    if not 0 < score < 1:
        raise typer.BadParameter(f"{score:g} is not between 0 and 1")
    return score


def predict(
    model: Model,
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGE",
            help="Images, folders to search for them, 'quoted globs', or videos; - reads a list of "
            "paths from standard input. Images may be s3://bucket/prefix.",
        ),
    ],
    out: Out,
    score: Annotated[
        float,
        typer.Option(metavar="SCORE", callback=_check_score, help="Lowest score of a detection."),
    ] = _DEFAULT.score,
    tile: Annotated[
        int | None,
        typer.Option(
            metavar="PIXELS",
            help="Search larger images in tiles of this side, too, which finds smaller objects.",
        ),
    ] = None,
    tile_overlap: Annotated[
        float, typer.Option(metavar="SHARE", help="Share of a tile that its neighbour covers, too.")
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
    has_pictures: Annotated[
        bool, typer.Option("--pictures/--no-pictures", help="Write copies with the boxes drawn.")
    ] = _DEFAULT.has_pictures,
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

    values = {
        "score": score,
        "batch_size": batch_size,
        "tile": tile,
        "tile_overlap": tile_overlap,
        "format": format,
        "has_pictures": has_pictures,
    }
    config = parse_section(PredictConfig, values, "predict")
    places = list(list_places(images, sys.stdin))
    model = find_checkpoint(model, step)
    result = stage.run(config, model, places, out, framework=framework, device=device)
    finish(result, out / WRITERS[config.format][0], as_json=as_json)
