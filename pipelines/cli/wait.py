"""`python -m pipelines wait`."""

from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.cli.bundles import with_bundles
from pipelines.server_settings import ServerSettings
from ssd_core.errors import RunFailedError, SurroundingsError
from ssd_core.logs import format_duration, set_up_logging

if TYPE_CHECKING:
    from pipelines.client import Client
    from pipelines.run_state import RunState, StepState

RunId = Annotated[str, typer.Argument(metavar="RUN", help="The id that `submit` printed.")]

_INTERVAL_SECONDS = 10.0
_PATIENCE_SECONDS = 600.0


@with_bundles
def wait(
    run: RunId,
    server: ServerSettings,
    interval: Annotated[
        float, typer.Option(min=0.01, metavar="SECONDS", help="Time between two looks.")
    ] = _INTERVAL_SECONDS,
    patience: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="How long the server may be away.")
    ] = _PATIENCE_SECONDS,
) -> None:
    """Wait for the end of a run, and say what its steps do.

    Exit codes: 0 it succeeded, 3 it failed, 75 it was terminated (the same
    submission continues it) or the server was away for too long. Ctrl-C ends
    the waiting, not the run.

    Example: python -m pipelines wait 8f0c1c52-6f0e-4c0b-9d6b-0d8f7f1f2a3b
    """
    from pipelines.client import Client

    watch(Client(server), run, interval, patience)


def watch(
    client: "Client",
    run_id: str,
    interval: float = _INTERVAL_SECONDS,
    patience: float = _PATIENCE_SECONDS,
) -> None:
    """Print what changes until the run is over.

    Raises:
        RunFailedError: it failed.
        SurroundingsError: it was terminated, or the server was away for too long.
    """
    from pipelines.submission import follow

    set_up_logging()
    shown: dict[str, str] = {}
    for run in follow(client, run_id, interval=interval, patience=patience):
        for step in run.steps:
            if shown.get(step.name) != step.state:
                print(describe_step(step), flush=True)
                shown[step.name] = step.state
    print(run.state)
    check_end(run, client.run_url(run_id))


def describe_step(step: "StepState") -> str:
    """Say in a line how a step stands."""
    took = "" if step.seconds is None else f" after {format_duration(step.seconds)}"
    why = f": {step.error}" if step.error else ""
    return f"{step.name}: {step.state}{took}{why}"


def check_end(run: "RunState", url: str) -> None:
    """Leave with the exit code of a run that is over.

    Raises:
        RunFailedError: it failed.
        SurroundingsError: it was terminated.
    """
    if run.state == "terminated":
        raise SurroundingsError(f"the run {run.id} was terminated; the same submission continues")
    if run.state == "failed":
        failed = [step.name for step in run.steps if step.state == "failed"]
        where = f" in {', '.join(failed)}" if failed else ""
        why = f" ({run.error})" if run.error else ""
        raise RunFailedError(
            f"the run {run.id} failed{where}{why}; the log of the step is at {url}"
        )
