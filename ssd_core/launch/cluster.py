"""The few calls of the Kubernetes API that the launcher makes, patient with a server in trouble."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import urllib3
from kubernetes import client
from kubernetes.client.exceptions import ApiException

from ssd_core.errors import SsdError, SurroundingsError, UsageError
from ssd_core.launch.job import Manifest
from ssd_core.launch.kinds import JobKind
from ssd_core.logs import logger

AnswerT = TypeVar("AnswerT")

_TROUBLE = {429, 500, 502, 503, 504}
_UNTRUSTED = 0
"""The client's word for a certificate that is wrong or cannot be read."""
_REFUSALS = {_UNTRUSTED, 401, 403, 404}
"""Final when first heard; a server that is just starting gives them too, and then they pass."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for the Kubernetes API, in seconds."""

    request_seconds: float = 30.0
    """For the answer to a question."""
    watch_seconds: int = 300
    """Life of one watch; the server ends it, and the next one begins."""
    budget_seconds: float = 600.0
    """For a server that is away, all repetitions and pauses together."""
    pause_seconds: float = 0.5
    """Before the first repetition; it doubles each time, up to `longest_pause_seconds`."""
    longest_pause_seconds: float = 15.0
    removal_seconds: float = 300.0
    """For a job of the same name that is being deleted."""
    pods_seconds: float = 2.0
    """Between two looks at the pods."""


class Cluster:
    """One namespace of a cluster."""

    def __init__(
        self,
        configuration: client.Configuration,
        namespace: str,
        patience: Patience = Patience(),  # noqa: B008
    ) -> None:
        configuration.retries = False  # repeating is done here, for more than lost connections
        api = client.ApiClient(configuration)
        self.namespace = namespace
        self.patience = patience
        self._host = configuration.host
        self._jobs = client.CustomObjectsApi(api)
        self._core = client.CoreV1Api(api)
        self._known: set[JobKind | None] = set()
        """What the server has answered about, None for pods."""
        # To connect and to answer; the client passes over a single number that is no int.
        self._limits = (patience.request_seconds, patience.request_seconds)

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

        self._repeat(create, kind)

    def find(self, kind: JobKind, name: str) -> tuple[Manifest | None, str]:
        """Return the job of that name, if there is one, and the version to watch it from."""

        def find() -> Any:
            return self._jobs.list_namespaced_custom_object(
                *self._place(kind),
                field_selector=f"metadata.name={name}",
                _request_timeout=self._limits,
            )

        listed = self._repeat(find, kind)
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
                _request_timeout=(self.patience.request_seconds, self.patience.watch_seconds + 30),
            )
            for line in _lines(answer):
                event = json.loads(line)
                if event["type"] == "ERROR":  # for example 410: the version is too old
                    return
                yield event["type"], event["object"]
        except (ApiException, urllib3.exceptions.HTTPError, ValueError) as error:
            logger.debug("the watch of %s ended: %s", name, _reason(error))

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

        found: list[Manifest] = self._repeat(pods)
        return found

    def log_lines(self, pod: str, container: str) -> Iterator[str]:
        """Yield the log of a container from its beginning, each line after its time stamp.

        Raises:
            ApiException, HTTPError: the connection ended before the log did.
        """
        answer = self._core.read_namespaced_pod_log(
            pod,
            self.namespace,
            container=container,
            follow=True,
            timestamps=True,
            _preload_content=False,
            _request_timeout=(self.patience.request_seconds, None),
        )
        for line in _lines(answer):
            yield line.decode(errors="replace")

    def _place(self, kind: JobKind) -> tuple[str, str, str, str]:
        return kind.group, kind.version, self.namespace, kind.plural

    def _repeat(self, call: Callable[[], AnswerT], kind: JobKind | None = None) -> AnswerT:
        """Return the answer of `call`, after as many attempts as patience allows.

        Args:
            call: one question.
            kind: what it is about; None for pods.
        """
        deadline = time.monotonic() + self.patience.budget_seconds
        pause = self.patience.pause_seconds
        while True:
            try:
                answer = call()
            except (ApiException, urllib3.exceptions.HTTPError, ValueError) as error:
                if not self._may_pass(error, kind) or time.monotonic() + pause > deadline:
                    raise self._explain(error, kind) from None
                logger.debug("the Kubernetes API is in trouble: %s", _reason(error))
            else:
                self._known.add(kind)
                return answer
            time.sleep(pause)
            pause = min(2 * pause, self.patience.longest_pause_seconds)

    def _may_pass(self, error: Exception, kind: JobKind | None) -> bool:
        if not isinstance(error, ApiException) or error.status in _TROUBLE:
            return True
        return kind in self._known and error.status in _REFUSALS

    def _explain(self, error: Exception, kind: JobKind | None) -> SsdError:
        status = error.status if isinstance(error, ApiException) else None
        if status is None or status in _TROUBLE:
            return SurroundingsError(
                f"the Kubernetes API at {self._host} does not answer: {_reason(error)}"
            )
        if status == _UNTRUSTED:
            return UsageError(f"the Kubernetes API at {self._host}: {_reason(error)}")
        if status == 404 and kind:
            return UsageError(
                f"the cluster knows no {kind.resource}; {kind.operator} must be installed"
            )
        remedy = {401: "; expected a service account or a kubeconfig that it knows"}
        remedy[403] = "; see manifests/README.md for the Role that the launcher needs"
        return UsageError(
            f"the Kubernetes API refuses ({status}): {_reason(error)}{remedy.get(status, '')}"
        )


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


def _reason(error: Exception) -> str:
    """Return the sentence of a refusal, without the headers and the body around it."""
    if not isinstance(error, ApiException):
        return f"{type(error).__name__}: {error}"
    try:
        return str(json.loads(error.body)["message"])
    except (TypeError, ValueError, KeyError):
        return " ".join(str(error.reason).split())
