"""Compare two evaluations."""

from typing import Annotated, Any

import typer

from ssd_core.cli.options import Json, OptionalOut, print_json
from ssd_core.errors import GateError
from ssd_core.store import Location


def _input(name: str, text: str) -> Any:
    return typer.Argument(metavar=name, parser=Location.parse, help=text, show_default=False)


def compare(
    a: Annotated[
        Location,
        _input("A", "Output of `ssd evaluate` or its file, or of a pipeline run: ROOT/runs/RUN."),
    ],
    b: Annotated[Location, _input("B", "Another one of the same images.")],
    out: OptionalOut = None,
    fail_if_worse: Annotated[
        bool, typer.Option("--fail-if-worse", help="Exit with 3 if the AP of B is worse.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Compare two evaluations of the same images: is B better, worse or not distinguishable?

    Prints AP with the interval of the difference, for all classes and for each, and the images
    that changed most; --out also writes a page and results.json. No model is needed.

    Example: ssd compare evaluation evaluation-2 --out comparison
    """
    from ssd_core.report.comparison import describe_verdict, format_comparison
    from ssd_core.stages import compare as stage

    results = stage.run(a, b, out)
    if as_json:
        print_json(results | ({"output": (out / stage.PAGE_FILE).uri} if out else {}))
    else:
        print(format_comparison(results))
        if out:
            print(out / stage.PAGE_FILE)
    if fail_if_worse and results["overall"]["ap"]["verdict"] == "worse":
        raise GateError(describe_verdict(results, "ap"))
