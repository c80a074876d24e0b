"""The requests that the launcher sends to the Kubernetes API, repeated during an outage."""

import json
import os
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import urllib3
import yaml
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

from ssd_core.errors import SsdError, TransientError, UsageError
from ssd_core.launch.job import LAUNCHER, KubeObject
from ssd_core.launch.manifests import JobKind
from ssd_core.logs import logger

AnswerT = TypeVar("AnswerT")

_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_OUTAGE = {429, 500, 502, 503, 504}
_UNTRUSTED = 0
"""Status that the client reports for a certificate it cannot verify or read."""
_REFUSALS = {_UNTRUSTED, 401, 403, 404}
"""Final in the first answer. Later they are part of an outage: a starting server sends them too."""

FAILED_REQUEST = (ApiException, urllib3.exceptions.HTTPError, ValueError)
"""Errors of a single request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Timeouts of the launcher, in seconds."""

    request_seconds: float = 30.0
    poll_seconds: float = 5.0
    """Between two polls of the job and its pods, and before a failed request is repeated."""
    outage_seconds: float = 600.0
    """Longest outage of the API that is waited out."""
    removal_seconds: float = 300.0
    """For an earlier job of the same name to disappear once it is being deleted."""
    no_pods_seconds: float = 60.0
    """Until a job without pods is worth a warning."""
    pickup_seconds: float = 600.0
    """For the operator to react to a new job."""


class Cluster:
    """One namespace of a cluster."""

    def __init__(
        self,
        configuration: client.Configuration,
        namespace: str,
        timeouts: Timeouts = Timeouts(),  # noqa: B008
    ) -> None:
        configuration.retries = False  # `_repeat` also covers answers that report an outage
        self.namespace = namespace
        self.timeouts = timeouts
        self._api = client.ApiClient(configuration)
        self._host = configuration.host
        self._answered: set[JobKind | None] = set()

    def create(self, kind: JobKind, manifest: KubeObject) -> None:
        """Create a job, unless one of that name exists.

        Raises:
            UsageError: the cluster refuses it, or lacks this kind of job.
            TransientError: the API has been away for too long.
        """

        def create() -> None:
            try:
                self._send("POST", self._path(kind), {"fieldValidation": "Strict"}, body=manifest)
            except ApiException as error:
                if error.status != 409:
                    raise

        self._repeat(create, kind)

    def find(self, kind: JobKind, name: str) -> KubeObject | None:
        """Return the job of that name; None if it does not exist. Raises as `create` does."""
        jobs = self._repeat(lambda: self._list(self._path(kind), _named(name)), kind)
        return next(iter(jobs), None)

    def pods(self, kind: JobKind, name: str) -> list[KubeObject]:
        """Return the pods of a job. Raises as `create` does."""
        path, query = self._pods_path(), {"labelSelector": f"{kind.job_label}={name}"}
        return self._repeat(lambda: self._list(path, query))

    def warnings(self) -> list[KubeObject]:
        """Return the warnings among the events of the namespace.

        In one attempt, because nothing depends on them; may raise FAILED_REQUEST.
        """
        path = f"/api/v1/namespaces/{self.namespace}/events"
        return self._list(path, {"fieldSelector": "type=Warning"})

    def delete(self, kind: JobKind, name: str, launcher: str) -> bool:
        """Delete a job if `launcher` created it, and return whether it did.

        In one attempt, because the launcher is being stopped; may raise FAILED_REQUEST.
        """
        for job in self._list(self._path(kind), _named(name), seconds=5):
            metadata = job["metadata"]
            if metadata.get("annotations", {}).get(LAUNCHER) == launcher:
                body = {
                    "preconditions": {"uid": metadata["uid"]},
                    "propagationPolicy": "Background",
                }
                self._send("DELETE", f"{self._path(kind)}/{name}", {}, body=body, seconds=5)
                return True
        return False

    def log_lines(self, pod: str, container: str, since: str, seconds: float) -> Generator[str]:
        """Yield the lines of a log as they are written, each after its time stamp.

        They begin at the second `since` (RFC 3339, empty for all). The errors of FAILED_REQUEST
        mean that the stream ended before the log, for example after `seconds` of silence.
        """
        query = {"container": container, "follow": "true", "timestamps": "true"}
        if since:
            query["sinceTime"] = since
        answer = self._send("GET", f"{self._pods_path()}/{pod}/log", query, seconds=seconds)
        rest = b""
        try:
            for part in answer.stream(amt=None, decode_content=False):
                *lines, rest = (rest + part).split(b"\n")
                yield from (line.decode(errors="replace") for line in lines)
            if rest:
                yield rest.decode(errors="replace")
        finally:
            answer.close()
            answer.release_conn()

    def _path(self, kind: JobKind) -> str:
        return f"/apis/{kind.group}/{kind.version}/namespaces/{self.namespace}/{kind.plural}"

    def _pods_path(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}/pods"

    def _list(
        self, path: str, query: Mapping[str, str], seconds: float | None = None
    ) -> list[KubeObject]:
        answer = self._send("GET", path, query, seconds=seconds)
        items: list[KubeObject] = json.loads(answer.data)["items"]
        return items

    def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        *,
        body: KubeObject | None = None,
        seconds: float | None = None,
    ) -> Any:
        # Below the generated methods of the client: its method for logs lacks `sinceTime`, and its
        # models of pods reject fields of newer clusters.
        return self._api.call_api(
            path,
            method,
            query_params=list(query.items()),
            body=body,
            auth_settings=["BearerToken"],
            _return_http_data_only=True,
            _preload_content=False,
            # The client ignores a single number that is not an int.
            _request_timeout=(
                self.timeouts.request_seconds,
                seconds or self.timeouts.request_seconds,
            ),
        )

    def _repeat(self, call: Callable[[], AnswerT], kind: JobKind | None = None) -> AnswerT:
        deadline = time.monotonic() + self.timeouts.outage_seconds
        is_first = True
        while True:
            try:
                answer = call()
            except FAILED_REQUEST as error:
                if not self._is_outage(error, kind) or time.monotonic() > deadline:
                    raise self._explain(error, kind) from None
                if is_first:
                    logger.warning("the Kubernetes API fails, retrying: %s", reason(error))
                is_first = False
            else:
                self._answered.add(kind)
                return answer
            time.sleep(self.timeouts.poll_seconds)

    def _is_outage(self, error: Exception, kind: JobKind | None) -> bool:
        if not isinstance(error, ApiException) or error.status in _OUTAGE:
            return True
        return kind in self._answered and error.status in _REFUSALS

    def _explain(self, error: Exception, kind: JobKind | None) -> SsdError:
        status = error.status if isinstance(error, ApiException) else None
        text = reason(error)
        if status is None or status in _OUTAGE:
            return TransientError(f"the Kubernetes API at {self._host} does not answer: {text}")
        remedy = ""
        if status == 401:
            remedy = "; use a service account or a kubeconfig of this cluster"
        if status == 403 and " cannot " in text:  # not a quota or a webhook
            remedy = "; see manifests/README.md for the Role that the launcher needs"
        if status == 404 and kind:
            remedy = f"; install {kind.operator} for {kind.resource}"
        return UsageError(f"the Kubernetes API at {self._host} refuses ({status}): {text}{remedy}")


def _named(name: str) -> Mapping[str, str]:
    return {"fieldSelector": f"metadata.name={name}"}


def reason(error: Exception) -> str:
    """Return the message of a failed request, without headers and secrets."""
    if isinstance(error, ValueError):  # its text may contain the token
        return "the token of the launcher or the answer is malformed"
    if not isinstance(error, ApiException):
        return f"{type(error).__name__}: {error}"
    try:
        return str(json.loads(error.body)["message"])
    except (TypeError, ValueError, KeyError):
        return " ".join(str(error.reason).split())


def connect() -> tuple[client.Configuration, str]:
    """Return the client configuration and the namespace: those of this pod, else of the kubeconfig.

    Raises:
        UsageError: this process runs outside a pod and without a usable kubeconfig.
    """
    configuration = client.Configuration()
    if "KUBERNETES_SERVICE_HOST" in os.environ and _NAMESPACE_FILE.is_file():
        config.load_incluster_config(client_configuration=configuration)
        return configuration, _NAMESPACE_FILE.read_text().strip()
    path = os.environ.get("KUBECONFIG")
    try:
        config.load_kube_config(path, client_configuration=configuration)
        _, active = config.list_kube_config_contexts(path)
    except (config.ConfigException, OSError, TypeError, yaml.YAMLError) as error:
        text = " ".join(str(error).split())
        raise UsageError(
            f"no cluster to launch in: not running in a pod, and no usable kubeconfig: {text}"
        ) from None
    return configuration, active["context"].get("namespace", "default")


def owner_references(environment: Mapping[str, str] = os.environ) -> list[KubeObject]:
    """Return this pod as the owner of the job, so that the job is removed with it.

    Kubeflow Pipelines sets KFP_POD_NAME and KFP_POD_UID.
    """
    name, uid = environment.get("KFP_POD_NAME"), environment.get("KFP_POD_UID")
    if not name or not uid:
        logger.warning("not in a pod of Kubeflow Pipelines: the job outlives a killed launcher")
        return []
    return [{"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid}]
