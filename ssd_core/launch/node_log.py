"""Show the log of rank 0 while a job runs, across restarts of pods and lost connections."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import urllib3
from kubernetes.client.exceptions import ApiException

from ssd_core.errors import SsdError, StoppedError
from ssd_core.launch.adopt import Submitted
from ssd_core.launch.cluster import Cluster
from ssd_core.launch.job import Manifest
from ssd_core.logs import logger

_LAST_LINES_SECONDS = 15.0
"""How long the end of a log may take after the end of the job."""


@contextmanager
def shown_log(cluster: Cluster, job: Submitted) -> Iterator[None]:
    """Show the log of the job's first node inside the block, and what is left of it at its end.

    A log that cannot be read is a warning: the job does not depend on being watched.
    """
    is_over = threading.Event()
    reader = threading.Thread(target=_show, args=(cluster, job, is_over), daemon=True)
    reader.start()
    patience = _LAST_LINES_SECONDS
    try:
        yield
    except StoppedError:
        patience = 0.0
        raise
    finally:
        is_over.set()
        reader.join(patience)


def _show(cluster: Cluster, job: Submitted, is_over: threading.Event) -> None:
    selector = job.kind.node_zero.format(name=job.name)
    shown = _Shown()
    trouble = ""
    while True:
        was_over = is_over.is_set()
        try:
            for pod in cluster.pods(selector):
                trouble = _report_trouble(pod, trouble)
                shown.show(cluster, pod, job.kind.container)
        except SsdError as error:
            logger.warning("cannot show the log of %s: %s", job.name, error)
            return
        except (ApiException, urllib3.exceptions.HTTPError) as error:
            logger.debug("the log of %s was cut off: %s", job.name, type(error).__name__)
        if was_over:
            return
        is_over.wait(cluster.patience.pods_seconds)


class _Shown:
    """How far the log of each pod has been shown; every line of it begins with its time."""

    def __init__(self) -> None:
        self._stamps: dict[str, str] = {}
        self._complete: set[str] = set()

    def show(self, cluster: Cluster, pod: Manifest, container: str) -> None:
        """Show what is new until the log ends or the connection breaks."""
        uid, state = pod["metadata"]["uid"], _state(pod, container)
        if uid in self._complete or not {"running", "terminated"} & set(state):
            return
        last = self._stamps.get(uid, "")
        for line in cluster.log_lines(pod["metadata"]["name"], container):
            stamp, _, text = line.partition(" ")
            if stamp > last:
                logger.info("%s", text)
                self._stamps[uid] = stamp
        if "terminated" in state:
            self._complete.add(uid)


def _state(pod: Manifest, container: str) -> Manifest:
    entries = pod.get("status", {}).get("containerStatuses", [])
    states: dict[str, Manifest] = {entry["name"]: entry.get("state", {}) for entry in entries}
    return states.get(container, {})


def _report_trouble(pod: Manifest, said: str) -> str:
    """Say once why a pod does not start: no room in the cluster, no such image, ..."""
    status = pod.get("status", {})
    entries = [entry.get("state", {}) for entry in status.get("containerStatuses", [])]
    reasons = [entry["waiting"] for entry in entries if "waiting" in entry]
    reasons += [entry for entry in status.get("conditions", []) if entry["status"] == "False"]
    words = [
        f"{entry['reason']}: {entry['message']}"
        for entry in reasons
        if entry.get("reason") and entry.get("message")
    ]
    now = words[0] if words and status.get("phase") == "Pending" else ""
    if now and now != said:
        logger.warning("pod %s waits: %s", pod["metadata"]["name"], now)
    return now
