"""The status of a job and of its pods, read as errors of our own tree."""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from ssd_core.errors import (
    CrashedError,
    DataError,
    SsdError,
    TakenOverError,
    TransientError,
    UsageError,
    parse_error_line,
)
from ssd_core.launch.job import KubeObject

_ERRORS = {kind.exit_code: kind for kind in (CrashedError, UsageError, DataError)}
"""By exit code of `ssd train`; after any other code a rerun may succeed."""
_CAUSES = {UsageError.exit_code, DataError.exit_code, TakenOverError.exit_code}
_CONSEQUENCES = {TransientError.exit_code, 143}
"""Exit codes of the processes that lost another process of their training."""


class PodEnd(NamedTuple):
    """How a pod failed."""

    pod: str
    code: int
    reason: str
    time: str


def true_conditions(job: KubeObject) -> Mapping[str, KubeObject]:
    """Return the conditions of a job that hold now, by type."""
    conditions = job.get("status", {}).get("conditions", [])
    return {entry["type"]: entry for entry in conditions if entry["status"] == "True"}


def container_status(pod: KubeObject, container: str) -> KubeObject:
    """Return the status of one container of a pod; empty before the kubelet has reported one."""
    entries = pod.get("status", {}).get("containerStatuses", [])
    return next((entry for entry in entries if entry["name"] == container), {})


def waiting_reason(pod: KubeObject, container: str) -> str:
    """Return why a pod cannot start; empty if it has started or is starting."""
    status = pod.get("status", {})
    if status.get("phase") != "Pending":
        return ""
    entries = [container_status(pod, container).get("state", {}).get("waiting", {})]
    entries += [
        entry
        for entry in status.get("conditions", [])
        if entry["type"] == "PodScheduled" and entry["status"] == "False"
    ]
    reasons = [_join(entry) for entry in entries if entry.get("reason") and entry.get("message")]
    return next(iter(reasons), "")


def newest_warning(events: Iterable[KubeObject], job: str) -> str:
    """Return the newest of these events that is about a job, its parts or its pods, or ""."""
    ours = [
        event for event in events if f"{event['involvedObject'].get('name')}-".startswith(f"{job}-")
    ]
    return _join(max(ours, key=_event_time)) if ours else ""


def _event_time(event: KubeObject) -> str:
    """Return the time of an event in RFC 3339; which of the fields is set depends on its source."""
    times = (event.get("lastTimestamp"), event.get("eventTime"))
    return str(next(filter(None, times), event["metadata"]["creationTimestamp"]))


def explain_failure(
    job: str, condition: KubeObject, pods: Iterable[KubeObject], container: str
) -> SsdError:
    """Return the error that a job failed with: that of the pod that failed first.

    `condition` is the condition of the job that reports the failure.
    """
    text = condition.get("message") or condition.get("reason") or "no reason given"
    if condition.get("reason") == "DeadlineExceeded" or "specified deadline" in text:
        return TransientError(f"job {job} reached its deadline; a rerun continues: {text}")
    first = min(_failures(pods, container), key=_order, default=None)
    if first is None:
        return TransientError(f"job {job} failed: {text}")
    error = _ERRORS.get(first.code, TransientError)
    return error(f"job {job} failed: pod {first.pod}: {first.reason}")


def _order(end: PodEnd) -> tuple[bool, str, bool]:
    """Sort causes before consequences. The clocks of nodes differ, so the code comes first."""
    return end.code not in _CAUSES, end.time, end.code in _CONSEQUENCES


def _failures(pods: Iterable[KubeObject], container: str) -> Iterator[PodEnd]:
    for pod in pods:
        name, status = pod["metadata"]["name"], pod.get("status", {})
        entry = container_status(pod, container)
        states = (entry.get("state", {}), entry.get("lastState", {}))
        end = next((state["terminated"] for state in states if state.get("terminated")), None)
        if end and end["exitCode"] != 0:
            yield _container_end(name, end)
        elif status.get("phase") == "Failed":  # evicted, for example
            yield PodEnd(name, TransientError.exit_code, _join(status) or "failed", "")


def _container_end(pod: str, end: KubeObject) -> PodEnd:
    """Read the termination message of `ssd train`: the first error of its ranks."""
    code, time = int(end["exitCode"]), end.get("finishedAt") or ""
    lines = (end.get("message") or "").strip().splitlines()
    if lines and (own := parse_error_line(lines[0])):
        return PodEnd(pod, own.exit_code, own.message, time)
    return PodEnd(pod, code, f"{end.get('reason') or 'Error'}, exit code {code}", time)


def _join(entry: KubeObject) -> str:
    return ": ".join(word for word in (entry.get("reason"), entry.get("message")) if word)
