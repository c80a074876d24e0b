"""Why a job failed: the end of the pod that failed first, as an error of our own tree."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ssd_core.errors import (
    CrashedError,
    DataError,
    SsdError,
    SurroundingsError,
    UsageError,
    parse_error_line,
)
from ssd_core.launch.job import Manifest

_ERRORS: dict[int, type[SsdError]] = {1: CrashedError, 2: UsageError, 3: DataError}
"""By exit code of `ssd train`; with any other one a rerun may succeed."""
_CAUSES = {2, 3}
_CONSEQUENCES = {75, 143}
"""What the others end with when one process of a training is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodEnd:
    """How the container that trains ended in one pod."""

    pod: str
    code: int
    reason: str
    """In words: the last line of `ssd train`, else what the cluster says."""
    time: str


def explain_failure(
    job: str, condition: Manifest, pods: Iterable[Manifest], container: str
) -> SsdError:
    """Return the error that the job failed with.

    Args:
        job: name of the job, for the message.
        condition: the one of its status that says that it failed.
        pods: all pods of the job that are still known.
        container: name of the container that trains.
    """
    text = condition.get("message") or condition.get("reason") or "no reason given"
    if condition.get("reason") == "DeadlineExceeded" or "specified deadline" in text:
        return SurroundingsError(f"job {job} reached its deadline; a rerun continues: {text}")
    ends = sorted(_pod_ends(pods, container), key=_is_cause)
    if not ends:
        return SurroundingsError(f"job {job} failed: {text}")
    first = ends[0]
    kind = _ERRORS.get(first.code, SurroundingsError)
    return kind(f"job {job} failed: pod {first.pod}: {first.reason}")


def _is_cause(end: PodEnd) -> tuple[bool, str, bool]:
    """Sort what began it before what followed from it."""
    return end.code not in _CAUSES, end.time, end.code in _CONSEQUENCES


def _pod_ends(pods: Iterable[Manifest], container: str) -> Iterator[PodEnd]:
    for pod in pods:
        name, status = pod["metadata"]["name"], pod.get("status", {})
        states = {entry["name"]: entry for entry in status.get("containerStatuses", [])}
        entry = states.get(container, {})
        end = entry.get("state", {}).get("terminated") or entry.get("lastState", {}).get(
            "terminated"
        )
        if end and end["exitCode"] != 0:
            yield _container_end(name, end)
        elif status.get("phase") == "Failed":
            words = (status.get("reason"), status.get("message"))
            reason = ": ".join(word for word in words if word) or "failed"
            yield PodEnd(pod=name, code=75, reason=reason, time="")


def _container_end(pod: str, end: Manifest) -> PodEnd:
    """Read what `ssd train` left in the termination log; a launcher of ranks hides its code."""
    code, time = int(end["exitCode"]), end.get("finishedAt") or ""
    said = (end.get("message") or "").strip().splitlines()
    if said and (own := parse_error_line(said[0])):
        return PodEnd(pod=pod, code=own.exit_code, reason=own.message, time=time)
    reason = f"{end.get('reason') or 'Error'}, exit code {code}"
    return PodEnd(pod=pod, code=code, reason=reason, time=time)
