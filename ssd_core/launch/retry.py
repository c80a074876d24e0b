"""Calls of the Kubernetes API, repeated while it is in trouble; a refusal becomes one line."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import urllib3
from kubernetes.client.exceptions import ApiException

from ssd_core.errors import SsdError, SurroundingsError, UsageError
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
    """Life of one watch, and silence of one log; the next one takes over."""
    budget_seconds: float = 600.0
    """For a server that is away, all repetitions and pauses together."""
    pause_seconds: float = 0.5
    """Before the first repetition; it doubles each time, up to `longest_pause_seconds`."""
    longest_pause_seconds: float = 15.0
    removal_seconds: float = 300.0
    """For a job of the same name that is being deleted."""
    pods_seconds: float = 2.0
    """Between two looks at the pods."""


class Retrier:
    """Repeats calls of one server, and remembers what that server has answered about."""

    def __init__(self, host: str, patience: Patience) -> None:
        self._host = host
        self._patience = patience
        self._known: set[JobKind | None] = set()

    def run(self, call: Callable[[], AnswerT], kind: JobKind | None = None) -> AnswerT:
        """Return the answer of `call`, after as many attempts as patience allows.

        Args:
            call: one question.
            kind: what it is about; None for pods.

        Raises:
            UsageError: the server refuses, or does not know this kind of job.
            SurroundingsError: it stays away.
        """
        deadline = time.monotonic() + self._patience.budget_seconds
        pause = self._patience.pause_seconds
        while True:
            try:
                answer = call()
            except (ApiException, urllib3.exceptions.HTTPError, ValueError) as error:
                if not self._may_pass(error, kind) or time.monotonic() + pause > deadline:
                    raise self._explain(error, kind) from None
                logger.debug("the Kubernetes API is in trouble: %s", reason(error))
            else:
                self._known.add(kind)
                return answer
            time.sleep(pause)
            pause = min(2 * pause, self._patience.longest_pause_seconds)

    def _may_pass(self, error: Exception, kind: JobKind | None) -> bool:
        if not isinstance(error, ApiException) or error.status in _TROUBLE:
            return True
        return kind in self._known and error.status in _REFUSALS

    def _explain(self, error: Exception, kind: JobKind | None) -> SsdError:
        status = error.status if isinstance(error, ApiException) else None
        if status is None or status in _TROUBLE:
            return SurroundingsError(
                f"the Kubernetes API at {self._host} does not answer: {reason(error)}"
            )
        if status == _UNTRUSTED:
            return UsageError(f"the Kubernetes API at {self._host}: {reason(error)}")
        if status == 404 and kind:
            return UsageError(
                f"the cluster knows no {kind.resource}; {kind.operator} must be installed"
            )
        remedy = {401: "; expected a service account or a kubeconfig that it knows"}
        remedy[403] = "; see manifests/README.md for the Role that the launcher needs"
        return UsageError(
            f"the Kubernetes API refuses ({status}): {reason(error)}{remedy.get(status, '')}"
        )


def reason(error: Exception) -> str:
    """Return the sentence of a refusal, without the headers and the body around it."""
    if not isinstance(error, ApiException):
        return f"{type(error).__name__}: {error}"
    try:
        return str(json.loads(error.body)["message"])
    except (TypeError, ValueError, KeyError):
        return " ".join(str(error.reason).split())
