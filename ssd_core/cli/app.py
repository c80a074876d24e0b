"""The `ssd` command. Each module beside this one holds a group of commands."""

import resource
from typing import NoReturn

import typer

from ssd_core.cli import (
    compare,
    data,
    doctor,
    exits,
    export,
    fps,
    history,
    model,
    plan,
    predict,
    rank_table,
    recipes,
    train,
    upkeep,
    weights,
)
from ssd_core.errors import TransientError
from ssd_core.logs import set_up_logging
from ssd_core.process import watchdog

_MIN_MEMORY = 400_000_000
"""Bytes of address space; with less, libraries crash where they should raise."""

app = typer.Typer(
    name="ssd",
    cls=exits.Commands,
    no_args_is_help=True,
    epilog=exits.EPILOG,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    data.check,
    data.convert,
    data.inspect,
    plan.plan,
    train.train,
    model.evaluate,
    compare.compare,
    model.benchmark,
    history.history,
    fps.fps,
    predict.predict,
    model.report,
    model.publish,
    export.export,
    recipes.recipes,
    weights.import_weights,
    upkeep.verify,
    upkeep.gc,
    rank_table.rank_table,
    doctor.doctor,
):
    app.command()(command)


@app.callback()
def ssd(context: typer.Context, _version: exits.Version = False) -> None:
    """Train, evaluate and benchmark SSD object detectors.

    The usual order is check, convert, inspect, plan, train, evaluate, benchmark, report, publish.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if 0 <= limit < _MIN_MEMORY:
        raise TransientError(
            f"too little memory: at most {limit / 1e6:.0f} MB may be used, expected "
            f"{_MIN_MEMORY / 1e6:.0f} MB; raise the limit (ulimit -v) and repeat the command"
        )
    set_up_logging(prints_results=True)
    context.with_resource(watchdog.watch())


def main() -> NoReturn:
    """Run the command line."""
    exits.run(app)
