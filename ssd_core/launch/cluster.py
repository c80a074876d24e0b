"""The few calls of the Kubernetes API that the launcher makes."""

import json
from collections.abc import Iterator
from typing import Any

import urllib3
from kubernetes import client
from kubernetes.client.exceptions import ApiException

from ssd_core.launch.job import Manifest
from ssd_core.launch.kinds import JobKind
from ssd_core.launch.retry import Patience, Retrier, reason
from ssd_core.logs import logger


class Cluster:
    """One namespace of a cluster."""

    def __init__(
        self,
        configuration: client.Configuration,
        namespace: str,
        patience: Patience = Patience(),  # noqa: B008
    ) -> None:
        configuration.retries = False  # the Retrier repeats, after more than lost connections
        api = client.ApiClient(configuration)
        self.namespace = namespace
        self.patience = patience
        self._retrier = Retrier(configuration.host, patience)
        self._jobs = client.CustomObjectsApi(api)
        self._core = client.CoreV1Api(api)
        # To connect and to answer; the client passes over a single number that is no int.
        self._limits = (patience.request_seconds, patience.request_seconds)
        self._stream_limits = (
            patience.request_seconds,
            patience.request_seconds + patience.watch_seconds,
        )

    def create(self, kind: JobKind, manifest: Manifest) -> None:
        """Create a job, unless there is one of its name.

        Raises:
            UsageError: the cluster refuses, or does not know this kind of job.
            SurroundingsError: the API stays away.
        """

        def create() -> None:
            try:
                self._jobs.create_namespaced_custom_object(
                    *self._place(kind),
                    manifest,
                    field_validation="Strict",
                    _request_timeout=self._limits,
                )
            except ApiException as error:
                if error.status != 409:
                    raise

        self._retrier.run(create, kind)

    def find(self, kind: JobKind, name: str) -> tuple[Manifest | None, str]:
        """Return the job of that name, if there is one, and the version to watch it from."""
        listed = self._retrier.run(
            lambda: self._jobs.list_namespaced_custom_object(
                *self._place(kind),
                field_selector=f"metadata.name={name}",
                _request_timeout=self._limits,
            ),
            kind,
        )
        return next(iter(listed["items"]), None), listed["metadata"]["resourceVersion"]

    def watch(self, kind: JobKind, name: str, version: str) -> Iterator[tuple[str, Manifest]]:
        """Yield what happens to a job after `version`, until the connection ends.

        Whatever ends it, the caller does the same: a list says what has happened meanwhile.
        """
        try:
            answer = self._jobs.list_namespaced_custom_object(
                *self._place(kind),
                field_selector=f"metadata.name={name}",
                resource_version=version,
                watch=True,
                timeout_seconds=self.patience.watch_seconds,
                _preload_content=False,
                _request_timeout=self._stream_limits,
            )
            for line in _lines(answer):
                event = json.loads(line)
                if event["type"] == "ERROR":  # for example 410: the version is too old
                    return
                yield event["type"], event["object"]
        except (ApiException, urllib3.exceptions.HTTPError, ValueError) as error:
            logger.debug("the watch of %s ended: %s", name, reason(error))

    def delete(self, kind: JobKind, name: str, uid: str) -> None:
        """Delete the job with that name and uid, with one attempt: it is done on the way out."""
        self._jobs.delete_namespaced_custom_object(
            *self._place(kind),
            name,
            body={"preconditions": {"uid": uid}, "propagationPolicy": "Background"},
            _request_timeout=(5, 5),
        )

    def pods(self, selector: str) -> list[Manifest]:
        """Return the pods that a label selector finds, as the API describes them."""

        def pods() -> Any:
            answer = self._core.list_namespaced_pod(
                self.namespace,
                label_selector=selector,
                _preload_content=False,
                _request_timeout=self._limits,
            )
            return json.loads(answer.data)["items"]

        found: list[Manifest] = self._retrier.run(pods)
        return found

    def log_lines(self, pod: str, container: str) -> Iterator[str]:
        """Yield the log of a container from its beginning, each line after its time stamp.

        Raises:
            ApiException, HTTPError: the connection ended before the log did, or was silent for so
                long that it may be dead.
        """
        answer = self._core.read_namespaced_pod_log(
            pod,
            self.namespace,
            container=container,
            follow=True,
            timestamps=True,
            _preload_content=False,
            _request_timeout=self._stream_limits,
        )
        for line in _lines(answer):
            yield line.decode(errors="replace")

    def _place(self, kind: JobKind) -> tuple[str, str, str, str]:
        return kind.group, kind.version, self.namespace, kind.plural


def _lines(answer: Any) -> Iterator[bytes]:
    """Yield the lines of an answer as they arrive, and let the connection go at the end."""
    rest = b""
    try:
        for part in answer.stream(amt=None, decode_content=False):
            *lines, rest = (rest + part).split(b"\n")
            yield from (line for line in lines if line)
        if rest:
            yield rest
    finally:
        answer.close()
        answer.release_conn()
