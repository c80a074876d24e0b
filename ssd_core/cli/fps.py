"""`ssd fps`: the speed of a training, from its log."""

from dataclasses import asdict
from typing import Annotated

import typer

from ssd_core.cli.options import Json, print_json
from ssd_core.store import Location


def fps(
    log: Annotated[
        Location,
        typer.Argument(
            metavar="LOG",
            parser=Location.parse,
            help="The --out of `ssd train`, its train_log.jsonl, a .log.json of mmcv 1, or the "
            "printed lines of MindSpore.",
        ),
    ],
    devices: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Devices that trained together.")
    ] = None,
    batch: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Images per step and device.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Compute the images per second of a training: the true figure, and that of the reference tool.

    The true figure divides images by seconds, data loading included and warm-up left out.

    Example: ssd fps 20221014_120000.log.json --devices 8 --batch 8
    """
    from ssd_core.benchmark.fps import measure_log
    from ssd_core.store.location import is_empty, read_input
    from ssd_core.train_log import LOG_FILE

    if not is_empty(log):
        log = log / LOG_FILE
    content = read_input(log, "the log of a training")
    speed = measure_log(content, log, devices=devices, batch=batch)
    if as_json:
        print_json(asdict(speed))
        return
    value = speed.reference_value
    figure = "no figure" if value is None else f"{value:,.2f} {speed.reference_unit}"
    width = len(speed.reference)
    print(f"{'true':{width}}  {speed.images_per_second:,.2f} images/s")
    print(f"{speed.reference}  {figure}")
    print(f"{speed.reference}: {speed.difference}")
