"""Run a job on the cluster: create or adopt it, poll it, and end as it ends."""

import signal
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from ssd_core.errors import OwnershipError, StoppedError, TransientError
from ssd_core.launch.cluster import FAILED_REQUEST, Cluster
from ssd_core.launch.follow import Follower
from ssd_core.launch.job import DIGEST, LAUNCHER, JobRequest, KubeObject, signed
from ssd_core.launch.manifests import KINDS, JobKind, render
from ssd_core.logs import logger


def run_job(cluster: Cluster, request: JobRequest, owners: list[KubeObject]) -> None:
    """Create or adopt the job, show its log, and return when it has succeeded.

    On SIGTERM or Ctrl-C a job that this process created is deleted: the pods of a terminated
    pipeline run stay for a while, and the job would stay with its owner.

    Raises:
        OwnershipError: another job has that name.
        UsageError, DataError, CrashedError: the training failed with that error, or the cluster
            refuses the job.
        TransientError: the job failed for another reason, was deleted or suspended, reached its
            deadline, or the API has been away for too long.
        StoppedError: SIGTERM or Ctrl-C.
    """
    kind, launcher = KINDS[request.placement.job.kind], uuid.uuid4().hex
    manifest = signed(render(request), launcher, owners)
    with _stopped_by_signals():
        try:
            uid = _submit(cluster, kind, manifest)
            Follower(cluster, kind, request.name, uid).run()
        except _Signal:
            with suppress(*FAILED_REQUEST):
                if cluster.delete(kind, request.name, launcher):
                    logger.info("deleted %s %s", kind.resource, request.name)
            raise


def _submit(cluster: Cluster, kind: JobKind, manifest: KubeObject) -> str:
    """Create the job or adopt the one of an earlier attempt, and return its uid."""
    name, wanted = manifest["metadata"]["name"], manifest["metadata"]["annotations"]
    deadline = time.monotonic() + cluster.timeouts.removal_seconds
    while True:
        cluster.create(kind, manifest)
        # Also after a success: a repeated request may have met the job that the first one created.
        found = cluster.find(kind, name)
        if found and "deletionTimestamp" not in found["metadata"]:
            break
        if time.monotonic() > deadline:
            raise TransientError(f"job {name} is still being deleted; try again later")
        if found:
            logger.info("job %s is being deleted; waiting for its end", name)
        time.sleep(cluster.timeouts.poll_seconds)
    marks = found["metadata"].get("annotations", {})
    if marks.get(DIGEST) != wanted[DIGEST]:
        raise OwnershipError(
            f"{kind.resource} {name} exists with another content; delete it, or start another run"
        )
    verb = "created" if marks.get(LAUNCHER) == wanted[LAUNCHER] else "adopted"
    logger.info("%s %s %s", verb, kind.resource, name)
    return str(found["metadata"]["uid"])


class _Signal(BaseException):
    """SIGTERM or Ctrl-C. Not an Exception, because `logging` swallows those."""


@contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """Raise a _Signal inside the block at once, and a StoppedError outside of it.

    Only the main thread receives signals.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        raise _Signal(number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    except _Signal as stopped:
        (number,) = stopped.args
        raise StoppedError(f"stopped by {signal.Signals(number).name}", number) from None
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
