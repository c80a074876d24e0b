"""Options that several commands share, so that a word means the same everywhere."""

from typing import Annotated, get_args

import typer

from ssd_core.config import DeviceName, FrameworkName

Assignments = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="section.key=value",
        help="Change one value of the recipe; repeat for more. `ssd recipes NAME` shows them all.",
    ),
]
Framework = Annotated[
    str,
    typer.Option(
        help=f"One of: {', '.join(get_args(FrameworkName))}; mindspore cannot train or detect yet."
    ),
]
Device = Annotated[
    str,
    typer.Option(
        help=f"One of: {', '.join(get_args(DeviceName))}; auto is the best there is, "
        "npu cannot be used yet."
    ),
]
_data_option = typer.Option(
    "--data", metavar="DIR", help="Shards made by `ssd convert`; a folder or s3://bucket/prefix."
)
Data = Annotated[str, _data_option]
OptionalData = Annotated[str | None, _data_option]
Model = Annotated[
    str,
    typer.Option(
        "--model",
        metavar="DIR",
        help="Output of `ssd train`, or its `model` folder; a folder or s3://bucket/prefix.",
    ),
]
Out = Annotated[str, typer.Option("--out", metavar="DIR", help="A folder, or s3://bucket/prefix.")]
