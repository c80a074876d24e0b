"""The command `python -m pipelines`."""

from typing import NoReturn

import typer

from pipelines.cli.cluster import compile_pipeline, status, submit, wait
from pipelines.cli.local import component, run
from pipelines.cli.results import results
from pipelines.cli.schedule import app as schedule_app
from ssd_core.cli import exits

app = typer.Typer(
    name="python -m pipelines",
    cls=exits.Commands,
    no_args_is_help=True,
    epilog=exits.EPILOG,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("compile")(compile_pipeline)
app.command("run")(run)
app.command("submit")(submit)
app.command("wait")(wait)
app.command("status")(status)
app.command("results")(results)
app.add_typer(schedule_app, name="schedule")
app.command("component")(component)


@app.callback()
def pipelines(_version: exits.Version = False) -> None:
    """Compile pipelines for Kubeflow, and run them here or on a cluster."""


def main() -> NoReturn:
    """Run the command line."""
    exits.run(app)


if __name__ == "__main__":
    main()
