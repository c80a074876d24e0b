"""`python -m pipelines results`, for runs on this machine and on a cluster."""

import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated

import typer

from pipelines.cli.options import DEFAULT_ROOT, with_bundles
from pipelines.cluster.settings import ServerSettings
from pipelines.results import explain_publish, find_unfinished, format_figures, read_results
from ssd_core.cli.options import Json, print_json
from ssd_core.errors import UsageError
from ssd_core.stages.frame import Results
from ssd_core.store.layout import Layout


@with_bundles
def results(
    server: ServerSettings,
    run: Annotated[
        str | None,
        typer.Argument(metavar="RUN", help="The id that `submit` or `run` printed; or the last."),
    ] = None,
    root: Annotated[
        str | None,
        typer.Option(
            metavar="DIR",
            help=f"Root of the run. Default: '{DEFAULT_ROOT}', or that of the run on the server.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Print the metrics of the finished steps of a run, and the steps that did not finish.

    Example: python -m pipelines results
    """
    layout = Layout(root or DEFAULT_ROOT)
    if run is None:
        run = layout.last_run()
        print(f"run {run}", file=sys.stderr)
    elif root is None and not layout.has_run(run):
        layout = Layout(_fetch_root(layout, run, server))
    found = read_results(layout, run)
    if as_json:
        print_json(found)
    else:
        _print(layout, run, found)


def _print(layout: Layout, run: str, found: Mapping[str, Results]) -> None:
    from ssd_core.stages.report import REPORT_FILE

    for step, result in found.items():
        own = {} if step in {"report", "publish"} else result["metrics"]  # theirs are repeated
        for name, value in own.items():
            print(f"{step:<14} {name:<24} {'–' if value is None else f'{value:.6g}'}")
        if "verdict" in result:
            print(f"{step:<14} {'verdict':<24} {result['verdict']['word']}")
        if step == "report":
            print(f"{step:<14} {layout.run(run, step) / REPORT_FILE}")
        if step == "publish":
            print(f"{step:<14} {result.get('uri', 'not published: no name')}")
        if "file" in result:
            print(f"{step:<14} {layout.run(run, step) / result['file']}")
    for step in find_unfinished(layout, run):
        reason = explain_publish(layout, run, found) if step == "publish" else ""
        print(f"{step:<14} not finished{reason and f': {reason}'}")
    if figures := format_figures(found):
        print(figures)


def _fetch_root(layout: Layout, run: str, server: ServerSettings) -> str:
    if not server.endpoint:
        last = ""
        with suppress(UsageError):  # no run at all
            last = f"; the last is {layout.last_run()}"
        raise UsageError(
            f"no run '{run}' in {layout.root}{last}; for one elsewhere give --root DIR, for one "
            "on a cluster --endpoint URL"
        )
    from pipelines.cluster.client import Client

    root = Client(server).get_run(run).arguments.get("data_root")
    if not isinstance(root, str):
        raise UsageError(f"the run {run} has no parameter 'data_root', so it is not one of ours")
    return root
