"""`ssd publish`: hand a model out."""

from pathlib import Path
from typing import Annotated

import typer

from ssd_core.cli.options import Assignments, Out
from ssd_core.config import PublishConfig, parse_section
from ssd_core.recipes.overrides import assign
from ssd_core.store import Location
from ssd_core.store.places import Places


def publish(
    inputs: Annotated[
        list[Path],
        typer.Argument(metavar="DIR ...", help="Outputs of `ssd train`, `evaluate`, `benchmark`."),
    ],
    name: Annotated[str, typer.Option(metavar="NAME", help="Name of the model.")],
    out: Out,
    version: Annotated[
        str, typer.Option(metavar="TEXT", help="By default the id of the training.")
    ] = "",
    root: Annotated[
        str, typer.Option(metavar="DIR", help="Keeps models/NAME/VERSION; also s3://bucket/prefix.")
    ] = "out",
    assignments: Assignments = None,
) -> None:
    """Check a model against its bars, and put it with a card under models/NAME/VERSION.

    The bars are publish.min_ap and publish.min_images_per_second. Of several models for one version
    the first wins.

    Example: ssd publish trained evaluation speed --name cells --set publish.min_ap=0.5 --out done
    """
    from ssd_core.stages import publish as stage

    values = assign("publish", PublishConfig().model_dump(mode="json"), assignments or ())
    config = parse_section(PublishConfig, values, "publish")
    label = stage.Label(name=name, version=version)
    stage.run(config, inputs, Location.parse(out), places=Places(root), label=label)
