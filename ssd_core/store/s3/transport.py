"""The HTTP side of the S3 store: time-outs, repetitions under one budget, proxies, certificates.

The S3 client sends everything through one `urlopen`. Repeating there covers every verb, also those
that the client itself never repeats: POST, the parts of an upload, 429.
"""

import io
import random
import re
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import certifi
from urllib3 import PoolManager, ProxyManager, Timeout, make_headers
from urllib3.exceptions import HTTPError, LocationValueError, ProtocolError, SSLError
from urllib3.exceptions import TimeoutError as HTTPTimeoutError
from urllib3.response import BaseHTTPResponse

from ssd_core.errors import UsageError
from ssd_core.logs import logger
from ssd_core.store.s3.settings import Patience, S3Settings

_LONGEST_PAUSE_SECONDS = 5.0
_TRANSIENT_STATUS = {408, 429, 500, 502, 503, 504}
_TRANSIENT_CODES = {
    b"BadDigest",
    b"ConditionalRequestConflict",
    b"IncompleteBody",
    b"InternalError",
    b"OperationAborted",
    b"RequestTimeout",
    b"ServiceUnavailable",
    b"SlowDown",
    b"XAmzContentSHA256Mismatch",
}
"""Errors that come with another status, or inside of a 200 when an upload is completed."""
_MAY_HOLD_CODE = {200, 400, 409}
_ERROR_CODE = re.compile(rb"<Error[ >].*?<Code>(\w+)</Code>", re.DOTALL)
NO_TRUST, NO_TLS = "CERTIFICATE_VERIFY_FAILED", "WRONG_VERSION_NUMBER"
NO_LOGIN = "Tunnel connection failed: 407"
"""Parts of errors that no repetition helps against."""


def is_transient(error: HTTPError) -> bool:
    """Say whether the same request may succeed when it is sent again."""
    is_lasting = any(reason in str(error) for reason in (NO_TRUST, NO_TLS, NO_LOGIN))
    return not (is_lasting or isinstance(error, LocationValueError))


class Tries:
    """The repetitions of one verb, and when to give up."""

    def __init__(self, host: str, patience: Patience) -> None:
        self._host = host
        self.budget_seconds = patience.budget_seconds
        self._pause_seconds = patience.pause_seconds
        self._deadline: float | None = None
        self._count = 0

    def advance(self) -> None:
        """There was progress: the budget starts anew at the next failure."""
        self._deadline, self._count = None, 0

    def pause(self, reason: str, retry_after: float = 0.0) -> bool:
        """Wait before the next attempt, or return False: the budget is spent.

        The pause is random up to a limit that doubles, so that many clients do not come back
        together.
        """
        now = time.monotonic()
        if self._deadline is None:
            self._deadline = now + self.budget_seconds
        limit = min(self._pause_seconds * 2**self._count, _LONGEST_PAUSE_SECONDS)
        seconds = max(retry_after, random.uniform(limit / 4, limit))
        self._count += 1
        if now + seconds >= self._deadline:
            return False
        if self._count == 2:  # a single failure is everyday: a kept connection that was closed
            logger.warning(
                "%s: %s; trying again for up to %g s", self._host, reason, self.budget_seconds
            )
        time.sleep(seconds)
        return True


class PatientPool(PoolManager):
    """A connection pool that repeats what may succeed, every method alike.

    All requests of one thread inside `verb` share a budget; a request outside has its own.
    """

    def __init__(self, host: str, patience: Patience, **options: Any) -> None:
        super().__init__(**options)
        self._host = host
        self._patience = patience
        self._timeout = Timeout(connect=patience.connect_seconds, read=patience.idle_seconds)
        self._current = threading.local()

    @contextmanager
    def verb(self) -> Iterator[Tries]:
        """Give the requests of this thread one budget."""
        outer = getattr(self._current, "tries", None)
        self._current.tries = outer or Tries(self._host, self._patience)
        try:
            yield self._current.tries
        finally:
            self._current.tries = outer

    def urlopen(  # type: ignore[override]
        self, method: str, url: str, *, body: bytes | None = None, **options: Any
    ) -> BaseHTTPResponse:
        """Send a request until it is answered, or the budget is spent; then give what came last."""
        tries = getattr(self._current, "tries", None) or Tries(self._host, self._patience)
        options |= {"redirect": False, "retries": False, "timeout": self._timeout}
        while True:
            try:
                response = super().urlopen(method, url, body=_in_pieces(body), **options)
            except HTTPError as error:
                if not is_transient(error) or not tries.pause(describe(error)):
                    raise
                continue
            if response.headers.get("Content-Type", "").startswith("text/xml"):
                response.headers["Content-Type"] = "application/xml"  # all that the client reads
            # A body that is still to be read is the reader's progress, and not for us to look into.
            is_read = options.get("preload_content", True)
            if not _failed_for_now(response, response.data if is_read else b""):
                if is_read:
                    tries.advance()
                return response
            reason = f"the store answers with status {response.status}"
            if not tries.pause(reason, _retry_after(response)):
                return response
            response.drain_conn()
            response.release_conn()


class _PatientProxy(PatientPool, ProxyManager):  # type: ignore[misc]
    """The same through a proxy."""


def open_pool(settings: S3Settings) -> PatientPool:
    """Return a pool for the endpoint, with proxies and certificates from the environment.

    Raises:
        UsageError: the certificates or the proxy's URL cannot be read.
    """
    parts = urlsplit(settings.endpoint)
    options: dict[str, Any] = {"maxsize": 16}
    if parts.scheme == "https":
        options["ssl_context"] = _ssl_context(settings.ca_bundle)
    proxy = getproxies().get(parts.scheme)
    if not proxy or proxy_bypass(parts.netloc):
        return PatientPool(parts.netloc, settings.patience, **options)
    proxy_parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    if proxy_parts.scheme not in {"http", "https"} or not proxy_parts.hostname:
        raise UsageError(f"{parts.scheme.upper()}_PROXY cannot be used; expected http://host:port")
    if proxy_parts.username:
        login = f"{unquote(proxy_parts.username)}:{unquote(proxy_parts.password or '')}"
        options["proxy_headers"] = make_headers(proxy_basic_auth=login)
    place = proxy_parts.netloc.rpartition("@")[2]
    options["proxy_url"] = f"{proxy_parts.scheme}://{place}"
    return _PatientProxy(parts.netloc, settings.patience, **options)


def describe(error: HTTPError) -> str:
    """Return in a few words what went wrong; the texts of the library hold URLs."""
    text = str(error)
    if isinstance(error, SSLError):
        return "no secure connection"
    if "NameResolution" in type(error).__name__ or "Failed to resolve" in text:
        return "its name cannot be resolved"
    if "Connection refused" in text:
        return "it refuses the connection"
    if isinstance(error, HTTPTimeoutError) or "timed out" in text:
        return "it does not answer in time"
    if isinstance(error, ProtocolError):
        return "the connection broke off"
    return "it cannot be reached"


def _ssl_context(ca_bundle: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    bundle = Path(ca_bundle or certifi.where())
    try:
        if bundle.is_dir():
            context.load_verify_locations(capath=bundle)
        else:
            context.load_verify_locations(cafile=bundle)
    except (OSError, ssl.SSLError):
        raise UsageError(
            f"{bundle}: no certificates can be read there; see AWS_CA_BUNDLE"
        ) from None
    return context


def _in_pieces(body: bytes | None) -> io.BytesIO | None:
    """Let the body be sent in pieces: a time-out counts for a piece, not for all of it."""
    return io.BytesIO(body) if body else None


def _failed_for_now(response: BaseHTTPResponse, body: bytes) -> bool:
    if response.status in _TRANSIENT_STATUS:
        return True
    code = _ERROR_CODE.search(body, 0, 1000) if response.status in _MAY_HOLD_CODE else None
    return code is not None and code[1] in _TRANSIENT_CODES


def _retry_after(response: BaseHTTPResponse) -> float:
    seconds = response.headers.get("Retry-After", "")
    return float(seconds) if re.fullmatch(r"\d{1,4}", seconds) else 0.0
