"""Poll a job and its pods, show the log of rank 0 in between, and end as the job ends."""

import logging
import re
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import closing, suppress
from datetime import datetime, timedelta

import urllib3

from ssd_core.errors import SsdError, TransientError, UsageError
from ssd_core.launch.cluster import FAILED_REQUEST, Cluster, reason
from ssd_core.launch.job import MAX_RESTARTS, KubeObject
from ssd_core.launch.manifests import JobKind
from ssd_core.launch.status import (
    container_status,
    explain_failure,
    newest_warning,
    true_conditions,
    waiting_reason,
)
from ssd_core.logs import format_duration, logger
from ssd_core.process import watchdog

_SUCCEEDED = {"Complete", "Succeeded"}
_QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
_LAST_LINES_SECONDS = 15.0
"""Timeout for the rest of the log after the end of the job."""
_LINE = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\.\d+(\S+) (.*)")
"""Second, time zone and text. Other lines are errors of the kubelet."""
_OVERLAP = timedelta(seconds=10)
"""The lines of the two standard streams are not strictly in the order of their time stamps."""


class Follower:
    """Follows one job to its end."""

    def __init__(self, cluster: Cluster, kind: JobKind, name: str, uid: str) -> None:
        self._cluster, self._timeouts = cluster, cluster.timeouts
        self._kind, self._name, self._uid = kind, name, uid
        self._log = RankLog(cluster, kind.container)
        self._logged: set[str] = set()
        self._last_pods = time.monotonic()

    def run(self) -> None:
        """Return when the job has succeeded; `run_job` lists the errors."""
        poll_seconds = self._timeouts.poll_seconds
        while True:
            watchdog.beat()
            next_poll = time.monotonic() + poll_seconds
            state, pods = self._cluster.find(self._kind, self._name), self._list_pods()
            conditions = true_conditions(state or {})
            error = self._error(state, conditions, pods)
            is_over = error is not None or bool(_SUCCEEDED & conditions.keys())
            if not is_over:
                self._log_news(conditions, pods)
            labels = self._kind.rank_0.items()
            rank_0 = [pod for pod in pods if labels <= pod["metadata"]["labels"].items()]
            self._log.show(rank_0, _LAST_LINES_SECONDS if is_over else poll_seconds)
            if error:
                raise error
            if is_over:
                return
            time.sleep(max(next_poll - time.monotonic(), 0))

    def _list_pods(self) -> list[KubeObject]:
        """Return the pods of the job, oldest first; none without the right to list them."""
        try:
            pods = self._cluster.pods(self._kind, self._name)
        except UsageError as error:
            self._log_once(f"cannot show the log of job {self._name}: {error}", is_bad=True)
            self._last_pods = time.monotonic()
            return []
        if pods:
            self._last_pods = time.monotonic()
        return sorted(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp")))

    def _error(
        self,
        state: KubeObject | None,
        conditions: Mapping[str, KubeObject],
        pods: list[KubeObject],
    ) -> SsdError | None:
        """Return the error that the job has ended with, if it has."""
        name, kind = self._name, self._kind
        if state is None or state["metadata"]["uid"] != self._uid:
            return TransientError(f"job {name} was deleted before its end; a rerun continues")
        if _SUCCEEDED & conditions.keys():
            return None
        if failed := conditions.get("Failed"):
            return explain_failure(name, failed, pods, kind.container)
        if "Suspended" in conditions and _QUEUE_LABEL not in state["metadata"].get("labels", {}):
            return TransientError(
                f"job {name} is suspended, and no queue will resume it; resume it and run again"
            )
        limit = self._timeouts.pickup_seconds
        if not state.get("status") and self._seconds_without_pods() > limit:
            return TransientError(
                f"nothing has reacted to job {name} for {format_duration(limit)}; check that "
                f"{kind.operator} runs, and run: kubectl describe {kind.resource} {name} "
                f"-n {self._cluster.namespace}"
            )
        return None

    def _log_news(self, conditions: Mapping[str, KubeObject], pods: list[KubeObject]) -> None:
        name, kind = self._name, self._kind
        self._log_once(f"job {name}: {['waiting for pods', *conditions][-1]}")
        if "Suspended" in conditions:
            self._last_pods = time.monotonic()
        if self._seconds_without_pods() > self._timeouts.no_pods_seconds:
            self._warn_without_pods()
        for pod in pods:
            if cause := waiting_reason(pod, kind.container):
                self._log_once(f"pod {pod['metadata']['name']} waits: {cause}", is_bad=True)
            labels = pod["metadata"]["labels"]
            restarts, limit = labels.get(kind.restart_label, "0"), labels.get(MAX_RESTARTS)
            if restarts != "0":
                self._log_once(f"job {name}: restart {restarts}{limit and f' of {limit}' or ''}")

    def _warn_without_pods(self) -> None:
        """Warn once with the newest event: every attempt to create a pod words it differently."""
        problem = f"job {self._name} has no pods"
        if problem in self._logged:
            return
        self._logged.add(problem)
        cause = ""
        with suppress(*FAILED_REQUEST):  # the Role of an earlier version lacks the right
            cause = newest_warning(self._cluster.warnings(), self._name)
        command = f"kubectl get events -n {self._cluster.namespace} --sort-by=.lastTimestamp"
        logger.warning("%s: %s", problem, cause or f"for the cause run: {command}")

    def _seconds_without_pods(self) -> float:
        return time.monotonic() - self._last_pods

    def _log_once(self, text: str, *, is_bad: bool = False) -> None:
        if text not in self._logged:
            self._logged.add(text)
            logger.log(logging.WARNING if is_bad else logging.INFO, "%s", text)


class RankLog:
    """Shows every line once, however often the connection is lost."""

    def __init__(self, cluster: Cluster, container: str) -> None:
        self._cluster, self._container = cluster, container
        self._shown: dict[str, Counter[str]] = {}
        """By uid of the pod, the lines that the next request returns again."""
        self._complete: set[str] = set()
        self._unreadable: set[str] = set()

    def show(self, pods: Iterable[KubeObject], seconds: float) -> None:
        """Show the new lines of these pods until their logs end, or for about `seconds`.

        A log that cannot be read is a warning: the job does not depend on its log being shown.
        """
        deadline = time.monotonic() + seconds
        for pod in pods:
            name, uid = pod["metadata"]["name"], pod["metadata"]["uid"]
            state = container_status(pod, self._container).get("state", {})
            if uid in self._complete or not {"running", "terminated"} & set(state):
                continue
            try:
                has_ended = self._show(name, self._shown.setdefault(uid, Counter()), deadline)
                if has_ended and "terminated" in state:
                    self._complete.add(uid)
            except urllib3.exceptions.ReadTimeoutError:
                pass  # a silent log, or a node that is gone
            except FAILED_REQUEST as error:
                level = logging.DEBUG if uid in self._unreadable else logging.WARNING
                self._unreadable.add(uid)
                logger.log(
                    level, "cannot read the log of pod %s, retrying: %s", name, reason(error)
                )

    def _show(self, pod: str, shown: Counter[str], deadline: float) -> bool:
        """Show one log, and return whether it ended before the deadline."""
        since, zone = _resume_time(shown)
        for line in [line for line in shown if line < since]:
            del shown[line]
        repeated = shown.copy()
        seconds = max(deadline - time.monotonic(), 0.1)
        lines = self._cluster.log_lines(pod, self._container, since and since + zone, seconds)
        with closing(lines):
            for line in lines:
                if repeated[line]:
                    repeated[line] -= 1
                elif found := _LINE.fullmatch(line):
                    shown[line] += 1
                    logger.info("%s", found[3])
                    if time.monotonic() > deadline:
                        return False
        return True


def _resume_time(shown: Counter[str]) -> tuple[str, str]:
    """Return the second and the time zone to continue a log from; empty for its beginning."""
    found = _LINE.fullmatch(max(shown, default=""))
    if found is None:
        return "", ""
    return (datetime.fromisoformat(found[1]) - _OVERLAP).isoformat(), found[2]
