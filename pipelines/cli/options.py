"""What the verbs share."""

from typing import Annotated

import typer

from ssd_core.errors import unknown_name

PIPELINES = ("training",)

Pipeline = Annotated[
    str, typer.Argument(metavar="PIPELINE", help=f"One of: {', '.join(PIPELINES)}.")
]


def check_pipeline(name: str) -> None:
    """Check that there is a pipeline of this name.

    Raises:
        UsageError: there is none.
    """
    if name not in PIPELINES:
        raise unknown_name("pipeline", name, PIPELINES)
