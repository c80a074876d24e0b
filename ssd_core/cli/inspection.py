"""`ssd inspect`: what a converted data set is made of."""

from typing import Annotated

import typer

from ssd_core.cli.options import Assignments, Data, Out
from ssd_core.store import Location


def inspect(
    data: Data,
    out: Out,
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Look closely at the anchors of this one; see `ssd recipes`."
        ),
    ] = None,
    assignments: Assignments = None,
) -> None:
    """Make one HTML page of a data set: counts, classes, sizes, photographs, findings.

    The anchors of all recipes are compared: how many objects none of them reaches. The same numbers
    are in results.json.

    Example: ssd inspect --data shards --recipe ssd300_vgg16 --out inspection
    """
    from ssd_core.stages import inspect as stage

    stage.run(
        Location.parse(data), Location.parse(out), recipe=recipe, assignments=assignments or ()
    )
