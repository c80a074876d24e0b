"""Poll a job and its pods, show the log of rank 0 in between, and end as the job ends."""

import logging
import time
from collections.abc import Mapping

from ssd_core.errors import SsdError, SurroundingsError, UsageError
from ssd_core.launch.cluster import Cluster
from ssd_core.launch.job import KubeObject
from ssd_core.launch.manifests import JobKind
from ssd_core.launch.rank_log import RankLog
from ssd_core.launch.status import explain_failure, true_conditions, waiting_reason
from ssd_core.logs import format_duration, logger

_SUCCEEDED = {"Complete", "Succeeded"}
_QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
_LAST_LINES_SECONDS = 15.0
"""Timeout for the rest of the log after the end of the job."""


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
            next_poll = time.monotonic() + poll_seconds
            state, pods = self._cluster.find(self._kind, self._name), self._list_pods()
            conditions = true_conditions(state or {})
            error = self._error(state, conditions, pods)
            is_over = error is not None or bool(_SUCCEEDED & conditions.keys())
            if not is_over:
                self._log_news(conditions, pods)
            self._log.show(self._rank_0(pods), _LAST_LINES_SECONDS if is_over else poll_seconds)
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

    def _rank_0(self, pods: list[KubeObject]) -> list[KubeObject]:
        """Return the pods that hold or held rank 0."""
        wanted = self._kind.rank_0.items()
        return [pod for pod in pods if wanted <= pod["metadata"]["labels"].items()]

    def _error(
        self,
        state: KubeObject | None,
        conditions: Mapping[str, KubeObject],
        pods: list[KubeObject],
    ) -> SsdError | None:
        """Return the error that the job has ended with, if it has."""
        name, kind = self._name, self._kind
        if state is None or state["metadata"]["uid"] != self._uid:
            return SurroundingsError(f"job {name} was deleted before its end; a rerun continues")
        if _SUCCEEDED & conditions.keys():
            return None
        if failed := conditions.get("Failed"):
            return explain_failure(name, failed, pods, kind.container)
        if "Suspended" in conditions and _QUEUE_LABEL not in state["metadata"].get("labels", {}):
            return SurroundingsError(
                f"job {name} is suspended, and no queue will resume it; resume it and run again"
            )
        limit = self._timeouts.pickup_seconds
        if "status" not in state and self._seconds_without_pods() > limit:
            return SurroundingsError(
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
            self._log_once(
                f"job {name} has no pods; for the cause run: kubectl get events "
                f"-n {self._cluster.namespace} --sort-by=.lastTimestamp",
                is_bad=True,
            )
        for pod in pods:
            if reason := waiting_reason(pod, kind.container):
                self._log_once(f"pod {pod['metadata']['name']} waits: {reason}", is_bad=True)
            restarts = pod["metadata"]["labels"].get(kind.restart_label, "0")
            if restarts != "0":
                self._log_once(f"job {name}: restart {restarts}")

    def _seconds_without_pods(self) -> float:
        return time.monotonic() - self._last_pods

    def _log_once(self, text: str, *, is_bad: bool = False) -> None:
        if text not in self._logged:
            self._logged.add(text)
            logger.log(logging.WARNING if is_bad else logging.INFO, "%s", text)
