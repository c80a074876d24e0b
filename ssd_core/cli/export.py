"""The command that writes a model as a file for other programs."""

from typing import Annotated, get_args

import typer

from ssd_core.backends.formats import FORMATS
from ssd_core.cli.options import MODEL_HELP, Json, Out, Step, finish, one_of
from ssd_core.config import ExportPrecision, FrameworkName
from ssd_core.store import Location


def export(
    model: Annotated[
        Location, typer.Argument(metavar="MODEL", parser=Location.parse, help=MODEL_HELP)
    ],
    format: Annotated[str, one_of("format", tuple(FORMATS), "Format of the file.")],
    out: Out,
    step: Step = None,
    precision: Annotated[
        str | None,
        one_of(
            "precision",
            get_args(ExportPrecision),
            "Type in which the network of an ONNX file computes, by default fp32; int8 is "
            "calibrated on --images.",
        ),
    ] = None,
    images: Annotated[
        list[Location] | None,
        typer.Option(
            metavar="IMAGE",
            parser=Location.parse,
            help="Image or folder to compare the file with the model on, and to calibrate int8; "
            "repeatable. Default: generated images.",
        ),
    ] = None,
    framework: Annotated[
        str | None,
        one_of(
            "framework",
            get_args(FrameworkName),
            "Framework that writes the file; default: one that does, and is installed.",
        ),
    ] = None,
    triton: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Make OUT a repository of Triton that serves the ONNX file under this name; in a "
            "store also with a manifest for KServe.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Export a model for other programs, as OUT/model.onnx or under the name that OUT ends with.

    The file takes RGB images and returns boxes and scores before NMS. A certificate beside it
    lists input, outputs, classes, and the largest differences from the model.

    Example: ssd export trained --format onnx --images photos --out exported
    """
    from ssd_core.stages import export as stage
    from ssd_core.training.checkpoints import find_checkpoint

    model = find_checkpoint(model, step)
    result = stage.run(
        model,
        out,
        format_name=format,
        precision=precision or "fp32",
        images=images or (),
        framework=framework,
        triton=triton,
    )
    finish(result, Location.parse(str(result.metadata["file"])), as_json=as_json)
