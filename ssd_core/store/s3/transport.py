"""The HTTP layer below the S3 client: timeouts, retries within a budget, proxies, certificates.

The S3 client sends every request through one `urlopen`. A retry there covers all operations, also
those that the client itself never retries: POST, the parts of an upload, status 429.
"""

import io
import random
import re
import ssl
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import certifi
import minio
from urllib3 import PoolManager, ProxyManager, Timeout
from urllib3.exceptions import HTTPError, LocationValueError, ProtocolError, SSLError
from urllib3.exceptions import TimeoutError as HTTPTimeoutError
from urllib3.response import BaseHTTPResponse

from ssd_core.errors import UsageError
from ssd_core.logs import logger
from ssd_core.process import watchdog
from ssd_core.store.s3.answers import (
    SUCCESS,
    DamagedAnswerError,
    ForeignAnswerError,
    is_transient_failure,
)
from ssd_core.store.s3.credentials import open_provider
from ssd_core.store.s3.settings import RetryPolicy, S3Settings, find_proxy

_LONGEST_PAUSE_SECONDS = 5.0
_MOST_PAGES = 4
"""Foreign answers to a request after which a server that has never answered as a store is none."""
PROXY_LOGIN = (
    "the proxy requires a login; set http://user:password@host:port in HTTPS_PROXY or HTTP_PROXY"
)
_LASTING = {
    "Tunnel connection failed: 407": PROXY_LOGIN,
    "CERTIFICATE_VERIFY_FAILED": "the certificate of {endpoint} is not trusted; add its authority "
    "to AWS_CA_BUNDLE",
    "WRONG_VERSION_NUMBER": "{endpoint} does not support TLS; expected http:// in AWS_ENDPOINT_URL",
}
"""Cause and remedy for substrings of errors for which a retry is useless."""


def lasting_cause(error: HTTPError) -> str | None:
    """Return cause and remedy, with `{endpoint}`, if a retry is useless; None if it may succeed."""
    if isinstance(error, LocationValueError):
        return "{endpoint} is not a valid address; check AWS_ENDPOINT_URL"
    text = str(error)
    return next((cause for part, cause in _LASTING.items() if part in text), None)


class RetryBudget:
    """Counts the retries of one operation and ends them at the limit of the policy."""

    def __init__(self, host: str, policy: RetryPolicy) -> None:
        self._host = host
        self.seconds = policy.budget_seconds
        self._pause_seconds = policy.pause_seconds
        self._deadline: float | None = None
        self._count = 0
        self.has_answer = False  # whether the store has answered in this operation

    def restore(self) -> None:
        """Restore the full budget after progress; it is counted from the next failure."""
        watchdog.beat()
        self.has_answer = True
        self._deadline, self._count = None, 0

    def pause(self, reason: str, retry_after: float = 0.0) -> bool:
        """Sleep before the next attempt, or return False if the budget is spent.

        The pause is random below a limit that doubles, so that many clients do not retry at once.
        """
        now = time.monotonic()
        if self._deadline is None:
            self._deadline = now + self.seconds
        limit = min(self._pause_seconds * 2**self._count, _LONGEST_PAUSE_SECONDS)
        seconds = max(retry_after, random.uniform(limit / 4, limit))
        self._count += 1
        if now + seconds >= self._deadline:
            return False
        if self._count == 2:  # a single failure is normal: the server closed an idle connection
            logger.warning("%s: %s; retrying for up to %g s", self._host, reason, self.seconds)
        time.sleep(seconds)
        return True


class RetryingPool(PoolManager):
    """A connection pool that retries requests of every HTTP method.

    All requests of one thread inside `operation` share a budget; any other request has its own.
    """

    def __init__(self, host: str, policy: RetryPolicy, **options: Any) -> None:
        super().__init__(**options)
        self._host = host
        self._policy = policy
        self._timeout = Timeout(connect=policy.connect_seconds, read=policy.idle_seconds)
        self._current = threading.local()
        self._has_met_store = False  # whether a response had the request id of a store

    @contextmanager
    def operation(self) -> Iterator[RetryBudget]:
        """Let the requests of this thread share one budget."""
        outer = getattr(self._current, "budget", None)
        self._current.budget = budget = outer or RetryBudget(self._host, self._policy)
        try:
            yield budget
        except ValueError:
            if budget.has_answer:  # in which the client finds no number or no date
                raise DamagedAnswerError("a value in the place of another") from None
            raise
        finally:
            self._current.budget = outer

    def urlopen(  # type: ignore[override]
        self, method: str, url: str, *, body: bytes | None = None, **options: Any
    ) -> BaseHTTPResponse:
        """Send a request and retry it within the budget; return or raise the last outcome."""
        budget = getattr(self._current, "budget", None) or RetryBudget(self._host, self._policy)
        options |= {"redirect": False, "retries": False, "timeout": self._timeout}
        num_pages = 0
        while True:
            # The timeout applies to each send: in blocks, it does not limit the whole body.
            blocks = io.BytesIO(body) if body else None
            try:
                response = super().urlopen(method, url, body=blocks, **options)
                # The caller reads the content of an object, and counts its progress.
                is_content = not options.get("preload_content", True) and response.status in SUCCESS
                is_failure = not is_content and is_transient_failure(method, response)
            except HTTPError as caught:
                error = self._in_context(caught)
                num_pages += isinstance(error, ForeignAnswerError)
                is_final = num_pages == _MOST_PAGES or lasting_cause(error)
                if is_final or not budget.pause(describe(error)):
                    raise error from None
                continue
            if "x-amz-request-id" in response.headers:  # threads only ever set it
                self._has_met_store = True
            if response.headers.get("Content-Type", "").startswith("text/xml"):
                response.headers["Content-Type"] = "application/xml"  # the client reads no other
            if not is_failure:
                if not is_content:
                    budget.restore()
                return response
            reason = f"the store answers with status {response.status}"
            if not budget.pause(reason, _retry_after(response)):
                return response
            response.drain_conn()
            response.release_conn()

    def _in_context(self, error: HTTPError) -> HTTPError:
        """Return the error; a page instead of an answer is damage where a store has answered."""
        if self._has_met_store and isinstance(error, ForeignAnswerError):
            return DamagedAnswerError(*error.args)
        return error


class _RetryingProxyPool(RetryingPool, ProxyManager):  # type: ignore[misc]
    """The same through a proxy."""


@dataclass(frozen=True, slots=True)
class S3Connection:
    """An S3 client of one endpoint, and the pool that carries its requests."""

    settings: S3Settings
    pool: RetryingPool
    client: minio.Minio


@lru_cache(maxsize=16)
def connect(settings: S3Settings, process: int) -> S3Connection:
    """Return the connection that all directories of this process share; a fork gets its own.

    Raises:
        UsageError: the endpoint, region or certificates are invalid.
    """
    del process
    pool = _open_pool(settings)
    parts = urlsplit(settings.endpoint)

    def open_identity_pool(url: str) -> RetryingPool:
        return _open_pool(replace(settings, endpoint=url, proxy=find_proxy(url)))

    variables = dict(settings.provider_variables)
    try:
        client = minio.Minio(
            parts.netloc,
            access_key=settings.access_key,
            secret_key=settings.secret_key,
            session_token=settings.session_token,
            credentials=open_provider(settings.provider, variables, open_identity_pool),
            secure=parts.scheme == "https",
            region=settings.region,
            http_client=pool,
        )
    except ValueError:  # its text is not shown: it repeats the value
        raise UsageError(
            f"{settings.endpoint}: the endpoint or the region is invalid; check AWS_ENDPOINT_URL "
            "and AWS_REGION"
        ) from None
    if settings.addressing == "virtual":
        client.enable_virtual_style_endpoint()
    elif settings.addressing == "path":
        client.disable_virtual_style_endpoint()
    return S3Connection(settings, pool, client)


def _open_pool(settings: S3Settings) -> RetryingPool:
    parts = urlsplit(settings.endpoint)
    options: dict[str, Any] = {"maxsize": 16}
    if parts.scheme == "https":
        options["ssl_context"] = _ssl_context(settings.ca_bundle)
    if settings.proxy is None:
        return RetryingPool(parts.netloc, settings.retry_policy, **options)
    proxy = urlsplit(settings.proxy)
    if proxy.username:
        login = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
        encoded = b64encode(login.encode(errors="surrogateescape")).decode()
        options["proxy_headers"] = {"proxy-authorization": f"Basic {encoded}"}
    options["proxy_url"] = f"{proxy.scheme}://{proxy.netloc.rpartition('@')[2]}"
    return _RetryingProxyPool(parts.netloc, settings.retry_policy, **options)


def _ssl_context(ca_bundle: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    bundle = Path(ca_bundle or certifi.where())
    try:
        if bundle.is_dir():
            context.load_verify_locations(capath=bundle)
        else:
            context.load_verify_locations(cafile=bundle)
    except (OSError, ssl.SSLError):
        raise UsageError(f"{bundle}: cannot read certificates; check AWS_CA_BUNDLE") from None
    return context


def describe(error: HTTPError) -> str:
    """Return a short description of the failure; the texts of the library contain URLs."""
    text = str(error)
    if isinstance(error, SSLError):
        return "no secure connection"
    if "NameResolution" in type(error).__name__ or "Failed to resolve" in text:
        return "its name cannot be resolved"
    if "Connection refused" in text:
        return "it refuses the connection"
    if isinstance(error, HTTPTimeoutError) or "timed out" in text:
        return "it does not answer in time"
    if isinstance(error, ForeignAnswerError):
        return "it answers, but not as an S3 store"
    if isinstance(error, DamagedAnswerError):
        return "its answers are damaged"
    if isinstance(error, ProtocolError):
        return "the connection broke off"
    return "it cannot be reached"


def _retry_after(response: BaseHTTPResponse) -> float:
    seconds = response.headers.get("Retry-After", "")
    return float(seconds) if re.fullmatch(r"\d{1,4}", seconds) else 0.0
