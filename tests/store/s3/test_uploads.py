"""Uploads in several parts: failing requests, killed servers and clients, slow networks."""

import os
import signal
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from ssd_core.errors import TransientError
from ssd_core.store.location import StoredObject
from ssd_core.store.s3.directory import S3Directory
from tests.faults.fault_proxy import FaultProxy
from tests.store.conftest import content_of, only_versitygw, open_s3, own_prefix, refusal
from tests.store.s3.conftest import MIB, each_fault, failing, idle_seconds_for, open_proxied
from tests.store.servers import SECRET_KEY, S3Server

RESTART_SECONDS = 300
"""Swift needs many seconds to start on a busy machine."""
UPLOAD_REQUESTS = [("POST", "uploads="), ("PUT", "partNumber=2"), ("POST", "uploadId=")]
"""Requests that begin a multipart upload, send a part, and complete it."""


def store_content(server: S3Server, store: S3Directory) -> bytes:
    """Read without the proxy."""
    return open_s3(server, store._prefix).get("large")


def clean_uploads(server: S3Server) -> None:
    direct = open_s3(server, "")
    for upload in direct.unfinished_uploads():
        direct.abort_upload(upload)
    assert list(direct.unfinished_uploads()) == []


@each_fault
def test_a_multipart_upload_and_its_removal_retry_faults(
    server: S3Server, proxy: FaultProxy, large_file: Path, fault: dict[str, object]
) -> None:
    store = open_proxied(server, proxy, **idle_seconds_for(fault))
    with ExitStack() as faults:
        for method, target in UPLOAD_REQUESTS:
            faults.enter_context(failing(proxy, fault | {"target": target}, method))
        store.put("large", large_file)
    assert store_content(server, store) == large_file.read_bytes()
    clean_uploads(server)  # a lost answer to the first request leaves an upload without parts
    name = f"{store._prefix}large"
    upload_id = store._client._create_multipart_upload("bucket", name, {})
    store._client._upload_part("bucket", name, b"12345", {}, upload_id, 1)
    with (
        failing(proxy, fault | {"target": "uploads="}, "GET"),
        failing(proxy, fault | {"target": "uploadId="}, "GET"),
    ):
        (upload,) = store.unfinished_uploads()
    assert (upload.key, upload.num_bytes) == ("large", 5)
    with failing(proxy, fault, "DELETE"):
        store.abort_upload(upload)
    assert list(store.unfinished_uploads()) == []


@only_versitygw
@pytest.mark.parametrize(("method", "target"), UPLOAD_REQUESTS)
def test_the_budget_ends_each_part_of_a_large_upload(
    server: S3Server, proxy: FaultProxy, large_file: Path, method: str, target: str
) -> None:
    # The other parts may be slow.
    store = open_proxied(server, proxy, idle_seconds=30, budget_seconds=0.3)
    proxy.fail("error", times=10_000, method=method, target=target)
    text = refusal(lambda: store.put("large", large_file), TransientError)
    assert "the store failed" in text
    assert open_s3(server, store._prefix).head("large") is None
    clean_uploads(server)


def test_a_server_that_is_killed_in_the_middle_of_a_large_upload(
    server: S3Server, proxy: FaultProxy, large_file: Path
) -> None:
    store = open_proxied(server, proxy, budget_seconds=RESTART_SECONDS)
    contents = {f"key-{number}": os.urandom(1000) for number in range(5)}
    for key, content in contents.items():
        store.put(key, content)
    starters: list[threading.Thread] = []

    def kill() -> None:
        server.stop(signal.SIGKILL)
        starters.append(threading.Thread(target=server.start))
        starters[0].start()

    proxy.fail("call", method="PUT", target="partNumber=2", call=kill)
    store.put("large", large_file)
    starters[0].join()
    assert content_of(store) == contents | {"large": large_file.read_bytes()}


@only_versitygw
def test_an_error_inside_a_200_response(
    server: S3Server, proxy: FaultProxy, large_file: Path
) -> None:
    failure = {"mode": "error", "status": 200, "method": "POST", "target": "uploadId="}
    store = open_proxied(server, proxy)
    hit = proxy.fail(**failure, code="InternalError")
    store.put("large", large_file)
    assert hit.times == 0
    proxy.fail(**failure, code="AccessDenied")
    text = refusal(lambda: store.put("other", large_file), TransientError)
    assert "lost the upload" in text
    clean_uploads(server)


@only_versitygw
def test_a_slow_upload_completes(server: S3Server, proxy: FaultProxy, large_file: Path) -> None:
    """The timeout applies to each block of the body, not to the whole request."""
    store = open_proxied(server, proxy, connect_seconds=0.5)  # also for each block
    slow = proxy.fail(
        "slow_upload", method="PUT", target="partNumber=1&", bytes_per_second=10 * MIB
    )
    store.put("large", large_file)
    assert slow.times == 0
    assert sum(request.method == "PUT" for request in proxy.seen) == 2
    assert store_content(server, store) == large_file.read_bytes()


def test_a_client_that_is_killed_in_the_middle_of_an_upload(
    server: S3Server, proxy: FaultProxy, large_file: Path
) -> None:
    """The old object stays, no partial object is visible, and the parts can be removed."""
    prefix = own_prefix()
    store = open_s3(server, prefix)
    store.put("large", b"old")
    code = (
        "import sys; from pathlib import Path; from ssd_core.store import Location\n"
        "Location.parse(sys.argv[1]).put('large', Path(sys.argv[2]))"
    )
    environment = os.environ | {
        "AWS_ENDPOINT_URL": proxy.endpoint,
        "AWS_ACCESS_KEY_ID": server.access_key,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
    }
    reached = threading.Event()
    held = threading.Event()

    def hold() -> None:
        reached.set()
        held.wait(60)

    proxy.fail("call", method="PUT", target="partNumber=2", call=hold)
    with subprocess.Popen(
        [sys.executable, "-c", code, f"s3://bucket/{prefix}", str(large_file)], env=environment
    ) as process:
        assert reached.wait(60)
        process.kill()
    held.set()
    assert store.get("large") == b"old"
    assert list(store.list()) == [StoredObject("large", 3)]
    (upload,) = store.unfinished_uploads()
    assert upload.key == "large"
    store.abort_upload(upload)
    store.abort_upload(upload)
    assert list(store.unfinished_uploads()) == []
    store.put("large", large_file)
    assert store.get("large") == large_file.read_bytes()
