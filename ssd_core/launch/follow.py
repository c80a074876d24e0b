"""Follow a job to its end, whatever happens to the connection meanwhile."""

import time
from collections.abc import Mapping

from ssd_core.errors import SurroundingsError, UsageError
from ssd_core.launch.adopt import Submitted
from ssd_core.launch.cluster import Cluster
from ssd_core.launch.failure import explain_failure
from ssd_core.launch.job import Manifest
from ssd_core.logs import logger

_DONE = ("Complete", "Succeeded")
_QUEUE_LABEL = "kueue.x-k8s.io/queue-name"


def follow(cluster: Cluster, job: Submitted) -> None:
    """Return when the job has succeeded.

    A list says what is, a watch what changes from there; when the watch ends, for whatever reason,
    the next list takes over.

    Raises:
        UsageError, DataError, CrashedError: the training failed with that.
        SurroundingsError: it failed for another reason, was deleted or suspended, reached its
            deadline, or the API stays away.
    """
    seen = ""
    while True:
        found, version = cluster.find(job.kind, job.name)
        if found is None or found["metadata"]["uid"] != job.uid:
            raise _deleted(job)
        if _has_ended(cluster, job, found):
            return
        seen = _report(found, seen)
        for event, state in cluster.watch(job.kind, job.name, version):
            if event == "DELETED":
                raise _deleted(job)
            if _has_ended(cluster, job, state):
                return
            seen = _report(state, seen)
        time.sleep(cluster.patience.pause_seconds)


def _deleted(job: Submitted) -> SurroundingsError:
    return SurroundingsError(f"job {job.name} was deleted before its end; a rerun continues")


def _has_ended(cluster: Cluster, job: Submitted, state: Manifest) -> bool:
    conditions = _true_conditions(state)
    if any(name in conditions for name in _DONE):
        return True
    if "Failed" in conditions:
        pods = _pods(cluster, job)
        raise explain_failure(job.name, conditions["Failed"], pods, job.kind.container)
    if "Suspended" in conditions and _QUEUE_LABEL not in state["metadata"].get("labels", {}):
        raise SurroundingsError(
            f"job {job.name} is suspended, and no queue will resume it; resume it and run again"
        )
    return False


def _pods(cluster: Cluster, job: Submitted) -> list[Manifest]:
    """Return the pods that may tell a reason; not seeing them is none."""
    try:
        return cluster.pods(job.kind.pods.format(name=job.name))
    except (UsageError, SurroundingsError) as error:
        logger.warning("cannot see the pods of %s: %s", job.name, error)
        return []


def _true_conditions(state: Manifest) -> Mapping[str, Manifest]:
    conditions = state.get("status", {}).get("conditions", [])
    return {entry["type"]: entry for entry in conditions if entry["status"] == "True"}


def _report(state: Manifest, seen: str) -> str:
    """Say once what the job has come to; return what was said last."""
    conditions = _true_conditions(state)
    now = ["waiting for pods", *conditions][-1]
    if now != seen:
        logger.info("job %s: %s", state["metadata"]["name"], now)
    return now
