"""Faults between a client and a store, and a file that takes several requests."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from ssd_core.store.s3.directory import S3Directory
from tests.faults.fault_proxy import FaultProxy
from tests.store.conftest import POLICY, open_s3
from tests.store.servers import S3Server

MIB = 2**20
TRANSIENT = [
    {"mode": "error", "status": 500, "code": "InternalError"},
    {"mode": "error", "status": 503, "code": "SlowDown", "headers": {"Retry-After": "0"}},
    {"mode": "error", "status": 429, "code": "TooManyRequests"},
    {"mode": "error", "status": 502, "code": "", "headers": {"Content-Type": "text/html"}},
    {"mode": "reset"},
    {"mode": "lost_answer"},
    {"mode": "stall"},
]
BEHIND_THE_SERVER = [fault for fault in TRANSIENT if fault["mode"] in {"reset", "lost_answer"}]
"""The other faults never reach the server, so that one server is enough."""
each_fault = pytest.mark.parametrize(
    ("server", "fault"),
    [("versitygw", fault) for fault in TRANSIENT]
    + [("swift", fault) for fault in BEHIND_THE_SERVER],
    ids=lambda part: (
        "-".join(str(part[key]) for key in ("mode", "status") if key in part)
        if isinstance(part, dict)
        else part
    ),
    indirect=["server"],
)


def open_proxied(server: S3Server, proxy: FaultProxy, **changes: float) -> S3Directory:
    """Return an empty directory behind a proxy, with changes of the retry policy."""
    return open_s3(server, endpoint=proxy.endpoint, retry_policy=replace(POLICY, **changes))


def idle_seconds_for(fault: dict[str, object]) -> dict[str, float]:
    return {"idle_seconds": 0.3} if fault["mode"] == "stall" else {}


@contextmanager
def failing(proxy: FaultProxy, fault: dict[str, object], method: str) -> Iterator[None]:
    """Let the next two requests of a method fail, and assert that they did."""
    hit = proxy.fail(**(fault | {"times": 2, "method": method}))
    yield
    assert hit.times == 0


@pytest.fixture(scope="session")
def large_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of two parts."""
    path = tmp_path_factory.mktemp("large") / "file"
    path.write_bytes(os.urandom(MIB) * 17)
    return path
