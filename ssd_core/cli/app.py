"""The `ssd` command. Each module beside this one holds a group of commands."""

from typing import NoReturn

import typer

from ssd_core.cli import data, doctor, exits, model, upkeep
from ssd_core.logs import set_up_logging
from ssd_core.process import watchdog

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
    model.train,
    model.evaluate,
    model.benchmark,
    model.predict,
    model.report,
    model.publish,
    model.recipes,
    upkeep.verify,
    upkeep.gc,
    doctor.doctor,
):
    app.command()(command)


@app.callback()
def ssd(context: typer.Context, version: exits.Version = False) -> None:
    """Train, evaluate and benchmark SSD object detectors.

    The usual order is check, convert, inspect, train, evaluate, benchmark, report, publish.
    """
    set_up_logging(prints_results=True)
    context.with_resource(watchdog.watch())


def main() -> NoReturn:
    """Run the command line."""
    exits.run(app)
