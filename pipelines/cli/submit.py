"""`python -m pipelines submit`."""

from typing import Annotated

import typer

from pipelines.cli.bundles import with_bundles
from pipelines.cli.options import Pipeline
from pipelines.cli.package import PackageOptions
from pipelines.cli.wait import watch
from pipelines.server_settings import ServerSettings
from ssd_core.logs import set_up_logging


@with_bundles
def submit(
    pipeline: Pipeline,
    package: PackageOptions,
    server: ServerSettings,
    wait: Annotated[bool, typer.Option("--wait", help="Stay until the run is over.")] = False,
) -> None:
    """Run a pipeline on a cluster; prints the id of the run and its page.

    Everything is checked before anything is sent. While a run that does the
    same is under way, the same command finds it instead of starting another;
    after a run has failed or was terminated, it continues.

    Example: python -m pipelines submit training --placement torch-cuda
    --recipe ssd300_vgg16 --dataset s3://photos/coco --root s3://detectors
    """
    content = package.compile(pipeline)
    from pipelines import submission
    from pipelines.client import Client

    set_up_logging()
    client = Client(server)
    run = submission.submit(
        client,
        content,
        experiment=package.experiment,
        service_account=package.service_account,
    )
    print(run.id)
    print(client.run_url(run.id), flush=True)
    if wait:
        watch(client, run.id)
