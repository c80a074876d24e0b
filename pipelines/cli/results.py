"""`python -m pipelines results`."""

from typing import Annotated

import typer

from pipelines.cli.bundles import with_bundles
from pipelines.cli.run import format_figures
from pipelines.cli.wait import RunId
from pipelines.results import read_results
from pipelines.server_settings import ServerSettings
from ssd_core.errors import UsageError
from ssd_core.store.places import Places


@with_bundles
def results(
    run: RunId,
    server: ServerSettings,
    root: Annotated[
        str | None,
        typer.Option(
            metavar="DIR", help="The root the run was given; without it the server is asked."
        ),
    ] = None,
) -> None:
    """Print what the finished steps of a run measured, from its `results.json` files.

    Example: python -m pipelines results 8f0c1c52-6f0e-4c0b-9d6b-0d8f7f1f2a3b
    --root s3://detectors
    """
    from ssd_core.stages.report import REPORT_FILE

    places = Places(root or _ask_root(run, server))
    found = read_results(places, run)
    for step, result in found.items():
        for name, value in result["metrics"].items():
            print(f"{step:<14} {name:<24} {'–' if value is None else f'{value:.6g}'}")
        if "verdict" in result:
            print(f"{step:<14} {'verdict':<24} {result['verdict']['word']}")
        if step == "report":
            print(f"{step:<14} {places.run(run, step) / REPORT_FILE}")
    if figures := format_figures(found):
        print(figures)


def _ask_root(run: str, server: ServerSettings) -> str:
    from pipelines.client import Client

    root = Client(server).get_run(run).arguments.get("data_root")
    if not isinstance(root, str):
        raise UsageError(f"the run {run} has no parameter 'data_root', so it is none of ours")
    return root
