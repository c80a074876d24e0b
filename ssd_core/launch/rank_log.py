"""The log of rank 0, shown line by line across restarts of its pod and lost connections."""

import logging
import re
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from datetime import datetime, timedelta

import urllib3

from ssd_core.launch.cluster import FAILED_REQUEST, Cluster, reason
from ssd_core.launch.job import KubeObject
from ssd_core.launch.status import container_status
from ssd_core.logs import logger

_LINE = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\.\d+(\S+) (.*)")
"""Second, time zone and text. Other lines are errors of the kubelet."""
_OVERLAP = timedelta(seconds=10)
"""The lines of the two standard streams are not strictly in the order of their time stamps."""


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
