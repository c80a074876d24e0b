"""`python -m pipelines schedule`."""

import shlex
from datetime import datetime, timezone
from itertools import islice
from typing import Annotated, Any

import typer

from pipelines.catalogue import PIPELINES, check_pipeline
from pipelines.cli.cluster import SubmitOptions, compile_checked
from pipelines.cli.options import PipelineOptions, with_bundles
from pipelines.cluster.cron import Cron, read_cron
from pipelines.cluster.settings import ServerSettings
from ssd_core.cli.exits import Commands
from ssd_core.errors import TransientError, unknown_name
from ssd_core.logs import set_up_logging

_SHOWN_TIMES = 3


class _Group(Commands):
    """Takes `schedule NAME ...` for `schedule create NAME ...`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in {*self.commands, *ctx.help_option_names}:
            args = ["create", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_Group, no_args_is_help=True, add_completion=False, rich_markup_mode="markdown"
)


@app.callback()
def schedule() -> None:
    """Run a pipeline on a schedule, for example a benchmark every night.

    Example: python -m pipelines schedule nightly --cron "0 0 3 * * *"
    --pipeline benchmark --placement torch-cuda --root s3://detectors
    --model s3://detectors/models/blood/1 --series blood-on-h100
    """


@app.command()
@with_bundles
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="An existing one is replaced.")],
    pipeline: Annotated[
        str, typer.Option(metavar="PIPELINE", help=f"One of: {', '.join(PIPELINES)}.")
    ],
    cron: Annotated[
        str,
        typer.Option(
            metavar='"S M H DAY MONTH WEEKDAY"',
            help='Six fields, seconds first: "0 0 3 * * *" is 3 o\'clock every night.',
        ),
    ],
    given: PipelineOptions,
    options: SubmitOptions,
    server: ServerSettings,
) -> None:
    """Create a schedule; `schedule NAME ...` without `create` is the same.

    One run at a time; a missed one is not made up for, and no step is taken
    from the cache. An existing schedule of this name is replaced: the new one
    is created, then the old one is disabled, and deleted unless it has an
    active run. Times are those of the server's clock, by default UTC.

    Example: python -m pipelines schedule nightly --cron "0 0 3 * * *"
    --pipeline benchmark --placement torch-cuda --root s3://detectors
    --model s3://detectors/models/blood/1 --series blood-on-h100
    """
    now = datetime.now(timezone.utc)
    when = read_cron(cron, now)
    check_pipeline(pipeline)
    package = compile_checked(pipeline, given, options)
    from pipelines.cluster import submission
    from pipelines.cluster.client import Client

    set_up_logging()
    client = Client(server)
    made = submission.put_schedule(
        client,
        package,
        name=name,
        cron=when.line,
        experiment=options.experiment,
        service_account=options.service_account,
    )
    print(f"{name}: {pipeline} at {_format_times(when, now)}")
    print(client.schedule_url(made))


@app.command("list")
@with_bundles
def list_schedules(server: ServerSettings) -> None:
    """Print the schedules: name, cron line, pipeline, and whether it is enabled.

    Example: python -m pipelines schedule list
    """
    from pipelines.cluster.client import Client

    for found in Client(server).list_schedules():
        state = "enabled" if found.is_enabled else "disabled"
        print(f"{found.name}\t{found.cron}\t{found.pipeline}\t{state}")


@app.command()
@with_bundles
def remove(
    name: Annotated[str, typer.Argument(metavar="NAME", help="See `schedule list`.")],
    server: ServerSettings,
) -> None:
    """Remove a schedule; its runs and results stay.

    While a run of it is active, the schedule is only disabled, and the exit
    code is 75: the server would kill that run.

    Example: python -m pipelines schedule remove nightly
    """
    from pipelines.cluster.client import Client
    from pipelines.cluster.submission import remove_schedules

    client = Client(server)
    schedules = client.list_schedules()
    found = [schedule for schedule in schedules if schedule.name == name]
    if not found:
        raise unknown_name("schedule", name, {schedule.name for schedule in schedules})
    if runs := remove_schedules(client, found):
        raise TransientError(
            f"'{name}' is disabled, but its run {runs[0]} would be killed with it; when that is "
            f"over, run: python -m pipelines schedule remove {shlex.quote(name)}"
        )
    print(f"{name} is removed")


def _format_times(when: Cron, now: datetime) -> str:
    times = [f"{time:%Y-%m-%d %H:%M:%S}" for time in islice(when.times_after(now), _SHOWN_TIMES)]
    return ", ".join(times)
