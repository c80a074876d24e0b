"""Run a job on the cluster from its first moment to its last, and end as it ends."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

import urllib3
from kubernetes.client.exceptions import ApiException

from ssd_core.errors import StoppedError
from ssd_core.launch.adopt import Submitted, submit
from ssd_core.launch.cluster import Cluster
from ssd_core.launch.follow import follow
from ssd_core.launch.job import Job, Manifest
from ssd_core.launch.node_log import shown_log
from ssd_core.logs import logger


def run_job(cluster: Cluster, job: Job, owners: list[Manifest]) -> None:
    """Create or adopt the job, show its log, and return when it has succeeded.

    Stopped by SIGTERM or Ctrl-C, the launcher deletes the job if it made it: a terminated pipeline
    run keeps its pods for a while, and the job with them.

    Raises:
        SsdError: what `submit` and `follow` raise; StoppedError.
    """
    with _stopped_by_signals():
        submitted = submit(cluster, job, owners)
        try:
            with shown_log(cluster, submitted):
                follow(cluster, submitted)
        except StoppedError:
            _remove(cluster, submitted)
            raise


def _remove(cluster: Cluster, job: Submitted) -> None:
    if not job.is_ours:
        return
    with suppress(ApiException, urllib3.exceptions.HTTPError):
        cluster.delete(job.kind, job.name, job.uid)
        logger.info("deleted %s %s", job.kind.resource, job.name)


@contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """Turn SIGTERM and Ctrl-C into a StoppedError at once; only the main thread gets signals."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise StoppedError(f"stopped by {signal.Signals(number).name}", number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
