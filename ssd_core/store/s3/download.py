"""Read the body of an object, and resume an interrupted read."""

import time
from collections.abc import Callable, Mapping

from urllib3.exceptions import HTTPError
from urllib3.response import BaseHTTPResponse

from ssd_core.errors import TransientError
from ssd_core.store.s3.errors import ANSWERS, error_code
from ssd_core.store.s3.transport import RetryBudget, describe, lasting_cause

_READ_BYTES = 2**18
_MOST_READS = 10
_PROGRESS_BYTES = 2**20
"""Bytes that restore the budget: at least this many must arrive within it."""


def read_body(
    open_at: Callable[[int], BaseHTTPResponse], budget: RetryBudget, uri: str
) -> tuple[bytes, Mapping[str, str]]:
    """Return the body and headers of `open_at(0)`.

    After an interruption, `open_at(n)` must request the rest after `n` bytes. If the object was
    replaced in between, the read starts again.

    Raises:
        TransientError: the store ignores ranges, or sends too slowly; the object is replaced again
            and again.
        urllib3.exceptions.HTTPError: the connection fails for longer than the budget.
    """
    for _ in range(_MOST_READS):
        found = _read_one_version(open_at, budget, uri)
        if found is not None:
            return found
    raise TransientError(f"{uri}: the object changes during each read; repeat the command later")


def _read_one_version(
    open_at: Callable[[int], BaseHTTPResponse], budget: RetryBudget, uri: str
) -> tuple[bytes, Mapping[str, str]] | None:
    """Return body and headers, or None if the object was replaced during an interruption."""
    content = bytearray()
    headers: Mapping[str, str] = {}
    while True:
        try:
            response = open_at(len(content))
        except ANSWERS as error:
            if not content or error_code(error) != "InvalidRange":
                raise
            return None  # replaced by a shorter object
        try:
            if content and response.status != 206:
                raise TransientError(f"{uri}: the store cannot resume an interrupted download")
            if content and response.headers.get("ETag") != headers.get("ETag"):
                return None
            headers = response.headers
            _receive(response, content, budget, uri)
            response.release_conn()
            return bytes(content), headers
        except HTTPError as error:
            if lasting_cause(error) or not budget.pause(describe(error)):
                raise
        finally:
            response.close()


def _receive(response: BaseHTTPResponse, content: bytearray, budget: RetryBudget, uri: str) -> None:
    start, num_bytes = time.monotonic(), 0
    # Not decoded: a range counts the stored bytes.
    while block := response.read1(_READ_BYTES, decode_content=False):
        content += block
        num_bytes += len(block)
        if num_bytes >= _PROGRESS_BYTES:
            budget.restore()
            start, num_bytes = time.monotonic(), 0
        elif time.monotonic() - start > budget.seconds:
            raise TransientError(
                f"{uri}: less than 1 MiB arrived in {budget.seconds:g} s; repeat the command later"
            )
