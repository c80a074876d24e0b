"""The `ssd` command. Each module beside this one holds a group of commands."""

from typing import Annotated, NoReturn

import typer

from ssd_core import __version__
from ssd_core.cli import data, exits, inspection, model, publish, recipes, upkeep
from ssd_core.logs import set_up_logging

app = typer.Typer(
    name="ssd",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    data.check,
    data.convert,
    inspection.inspect,
    model.train,
    model.evaluate,
    model.benchmark,
    model.predict,
    model.report,
    publish.publish,
    recipes.recipes,
    upkeep.verify,
    upkeep.gc,
):
    app.command()(command)


def _print_version(is_asked: bool) -> None:
    if is_asked:
        print(f"ssd {__version__}")
        raise typer.Exit


@app.callback()
def ssd(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Say the version."),
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more.")] = False,
) -> None:
    """Train, evaluate and benchmark SSD object detectors.

    The way through: check, convert, inspect, train, evaluate, benchmark, report, publish; predict
    uses a model, verify and gc look after what is kept.

    Exit codes: 0 done; 1 a bug; 2 wrong words; 3 wrong data or a missed goal; 75 try again; 130
    and 143 stopped. Add `--debug` for the trace of an error.
    """
    set_up_logging(verbose=verbose)


def main() -> NoReturn:
    """Run the command line."""
    exits.run(app)
