"""Read the body of an object, and continue where it broke off."""

import time
from collections.abc import Callable, Mapping

from urllib3.exceptions import HTTPError
from urllib3.response import BaseHTTPResponse

from ssd_core.errors import SurroundingsError
from ssd_core.store.s3.errors import ANSWERS, error_code
from ssd_core.store.s3.transport import Tries, describe, is_transient

_PIECE_BYTES = 2**18
_STEP_BYTES = 2**20
"""Bytes that count as progress: at least so many must come within the budget of a verb."""


def read_body(
    open_at: Callable[[int], BaseHTTPResponse], tries: Tries, place: str
) -> tuple[bytes, Mapping[str, str]]:
    """Return what `open_at(0)` answers, and its headers.

    After an interruption `open_at(n)` must ask for the rest after `n` bytes. Where the object was
    replaced in between, reading begins again.

    Raises:
        SurroundingsError: the store ignores ranges, or sends too slowly.
        urllib3.exceptions.HTTPError: the connection breaks off longer than the budget allows.
    """
    content = bytearray()
    headers: Mapping[str, str] = {}
    while True:
        try:
            response = open_at(len(content))
        except ANSWERS as error:
            if not content or error_code(error) != "InvalidRange":
                raise
            content.clear()  # replaced by a shorter one
            continue
        try:
            if content and response.status != 206:
                raise SurroundingsError(
                    f"{place}: the store cannot continue an interrupted download"
                )
            if content and response.headers.get("ETag") != headers.get("ETag"):
                content.clear()
                continue
            headers = response.headers
            _receive(response, content, tries, place)
            response.release_conn()
            return bytes(content), headers
        except HTTPError as error:
            if not is_transient(error) or not tries.pause(describe(error)):
                raise
        finally:
            response.close()


def _receive(response: BaseHTTPResponse, content: bytearray, tries: Tries, place: str) -> None:
    step_start, step_bytes = time.monotonic(), 0
    # Not decoded: a range counts the bytes that are stored.
    while piece := response.read1(_PIECE_BYTES, decode_content=False):
        content += piece
        step_bytes += len(piece)
        if step_bytes >= _STEP_BYTES:
            tries.advance()
            step_start, step_bytes = time.monotonic(), 0
        elif time.monotonic() - step_start > tries.budget_seconds:
            raise SurroundingsError(
                f"{place}: less than 1 MiB came in {tries.budget_seconds:g} s; repeat it later"
            )
