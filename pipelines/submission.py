"""Hand a pipeline to a cluster, once or to be run again and again; follow a run to its end."""

import time
from collections.abc import Iterator

from pipelines.client import Client, Schedule
from pipelines.package import Package
from pipelines.run_state import RunState
from ssd_core.errors import SurroundingsError
from ssd_core.logs import logger


def submit(
    client: Client, package: Package, *, experiment: str, service_account: str | None
) -> RunState:
    """Start a run, or return the one that does the same already.

    A run is named after what it does, so whoever repeats a submission whose answer was lost finds
    its run. Two trainings of the same model would only push each other aside.

    Raises:
        SurroundingsError: the server is away; submitting again is safe.
    """
    name = package.name()
    experiment_id = client.ensure_experiment(experiment)
    for run in client.find_runs(name, experiment_id):
        if not run.is_stopping:
            logger.info("a run that does the same is under way")
            return run
    try:
        return client.create_run(
            package, name=name, experiment=experiment_id, service_account=service_account
        )
    except SurroundingsError as error:
        raise SurroundingsError(
            f"{error}; should the run have begun, the same command finds it"
        ) from None


def put_schedule(
    client: Client,
    package: Package,
    *,
    name: str,
    cron: str,
    experiment: str,
    service_account: str | None,
) -> Schedule:
    """Make a schedule, and then remove the older ones of its name: at no time there is none.

    Whatever fails in between, the same command puts in order.

    Raises:
        SurroundingsError: the server is away, perhaps with older schedules not yet removed.
    """
    older = [schedule for schedule in client.list_schedules() if schedule.name == name]
    made = client.create_schedule(
        package,
        name=name,
        cron=cron,
        experiment=client.ensure_experiment(experiment),
        service_account=service_account,
    )
    try:
        for schedule in older:
            client.delete_schedule(schedule)
    except SurroundingsError as error:
        raise SurroundingsError(
            f"{error}; the new schedule '{name}' is made, but an older one fires too: the same "
            "command removes it"
        ) from None
    return made


def follow(client: Client, run_id: str, *, interval: float, patience: float) -> Iterator[RunState]:
    """Yield how a run stands, again and again, until it is over.

    Args:
        client: where it runs.
        run_id: its id.
        interval: seconds between two looks.
        patience: seconds for which the server may be away or broken.

    Raises:
        SurroundingsError: it was for longer.
    """
    heard = time.monotonic()
    while True:
        try:
            run = client.get_run(run_id)
        except SurroundingsError as error:
            if time.monotonic() - heard >= patience:
                raise SurroundingsError(
                    f"{error}; no news for {patience:g} s, the run goes on without being watched"
                ) from None
            logger.warning("%s", error)
        else:
            heard = time.monotonic()
            yield run
            if run.is_over:
                return
        time.sleep(interval)
