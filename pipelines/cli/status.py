"""`python -m pipelines status`."""

from pipelines.cli.bundles import with_bundles
from pipelines.cli.wait import RunId, describe_step
from pipelines.server_settings import ServerSettings


@with_bundles
def status(run: RunId, server: ServerSettings) -> None:
    """Say how a run stands, and each of its steps that has begun.

    A run that somebody terminated is called so, though the server calls it
    failed. The exit code is 0 whatever it says; `wait` leaves with that of
    the run.

    Example: python -m pipelines status 8f0c1c52-6f0e-4c0b-9d6b-0d8f7f1f2a3b
    """
    from pipelines.client import Client

    client = Client(server)
    found = client.get_run(run)
    why = f": {found.error}" if found.error else ""
    print(f"{found.name} · {found.state}{why}")
    for step in found.steps:
        print(f"  {describe_step(step)}")
    print(client.run_url(run))
