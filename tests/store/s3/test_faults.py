"""Failing networks and servers: the S3 store continues, or reports the cause within its budget."""

import itertools
import logging
import os
import socket
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from ssd_core.errors import DataError, TransientError
from ssd_core.store.location import StoredObject
from ssd_core.store.s3.directory import S3Directory
from tests.faults.fault_proxy import FaultProxy
from tests.store.conftest import POLICY, assert_no_secrets, only_versitygw, open_s3, refusal
from tests.store.s3.conftest import each_fault, failing, idle_seconds_for, open_proxied
from tests.store.servers import S3Server, free_port

_LISTING = """<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>{}key</Key>
<LastModified>2026-13-41T00:00:00.000Z</LastModified><Size>10</Size></Contents></ListBucketResult>
"""
SHORT = {"idle_seconds": 0.2, "budget_seconds": 0.3}


@pytest.fixture
def store(server: S3Server, proxy: FaultProxy) -> S3Directory:
    """A store behind the proxy."""
    return open_proxied(server, proxy)


def put_random(store: S3Directory) -> bytes:
    """Store 100,000 random bytes under "key" and return them."""
    content = os.urandom(100_000)
    store.put("key", content)
    return content


@each_fault
def test_every_operation_retries_faults(
    server: S3Server, proxy: FaultProxy, fault: dict[str, object]
) -> None:
    store = open_proxied(server, proxy, **idle_seconds_for(fault))
    with failing(proxy, fault, "PUT"):
        store.put("key", b"0123456789")
    with failing(proxy, fault, "GET"):
        assert store.get("key") == b"0123456789"
    with failing(proxy, fault, "GET"):
        assert store.get("key", 3, 4) == b"3456"
    with failing(proxy, fault, "HEAD"):
        assert store.head("key") == StoredObject("key", 10)
    with failing(proxy, fault, "GET"):
        assert list(store.list()) == [StoredObject("key", 10)]
    with failing(proxy, fault, "PUT"):
        assert store.put_if_absent("claim", b"mine") is True
    with failing(proxy, fault, "HEAD"):
        assert store.put_if_absent("claim", b"another's") is False
    with failing(proxy, fault, "DELETE"):
        store.delete("key")
    with failing(proxy, fault, "GET"):
        assert store.head("key") is None
    assert store.get("claim") == b"mine"


@only_versitygw
@pytest.mark.parametrize(
    "fault",
    [
        {"mode": "error", "status": 503, "code": "SlowDown"},
        {"mode": "error", "status": 500, "code": ""},
        {"mode": "reset"},
        {"mode": "stall"},
    ],
)
def test_the_budget_ends_every_operation(
    server: S3Server, proxy: FaultProxy, fault: dict[str, object], large_file: Path
) -> None:
    store = open_proxied(server, proxy, **SHORT)
    proxy.fail(**(fault | {"times": 10_000}))
    for call in (
        lambda: store.put("key", b"x"),
        lambda: store.put("key", large_file),
        lambda: store.put_if_absent("key", b"x"),
        lambda: store.get("key"),
        lambda: store.head("key"),
        lambda: list(store.list()),
        lambda: store.delete("key"),
    ):
        text = refusal(call, TransientError)
        assert text.startswith(store.uri)
        assert any(word in text for word in ("throttles", "store failed", "no answer from"))


def test_a_cut_body_is_continued(store: S3Directory, proxy: FaultProxy) -> None:
    content = put_random(store)
    proxy.heal()
    proxy.fail("cut", times=5, method="GET")
    assert store.get("key") == content
    starts = [int(request.headers["range"][6:-1]) for request in proxy.seen[1:]]
    assert starts == [50_000, 75_000, 87_500, 93_750, 96_875]
    proxy.heal()
    proxy.fail("cut", times=2, method="GET")
    assert store.get("key", 1000, 2000) == content[1000:3000]
    ranges = [request.headers["range"] for request in proxy.seen]
    assert ranges == ["bytes=1000-2999", "bytes=2000-2999", "bytes=2500-2999"]


@pytest.mark.parametrize(
    "damage",
    [
        {"mode": "cut"},
        {"mode": "shorten"},
        {"mode": "corrupt"},
        {"mode": "corrupt", "offset": 40},
        {"mode": "error", "status": 404, "code": "not < well formed"},
        {"mode": "error", "status": 404, "code": ""},
    ],
)
def test_a_damaged_answer_is_retried(
    server: S3Server, proxy: FaultProxy, damage: dict[str, object]
) -> None:
    """A proxy may shorten a listing or an error and correct its length."""
    store = open_proxied(server, proxy, budget_seconds=0.3)
    store.put("key", b"0123456789")
    for read, expected in (
        (lambda: list(store.list()), [StoredObject("key", 10)]),
        (lambda: store.head("missing"), None),
    ):
        with failing(proxy, damage, "GET"):
            assert read() == expected
        proxy.fail(**(damage | {"times": 1000, "method": "GET"}))
        text = refusal(read, TransientError)
        assert "are damaged; check the network" in text or "the connection broke off" in text
        proxy.heal()


@pytest.mark.parametrize("content", [b"", b"0123456789"])
def test_a_page_that_hides_an_object(store: S3Directory, proxy: FaultProxy, content: bytes) -> None:
    """A response to HEAD does not show that it comes from another server."""
    store.put("key", content)
    hit = proxy.fail("error", status=404, code="", method="HEAD")
    assert store.head("key") == StoredObject("key", len(content))
    assert hit.times == 0


def test_a_listing_with_an_unreadable_date(store: S3Directory, proxy: FaultProxy) -> None:
    """The client reads it after the response was accepted."""
    store.put("key", b"0123456789")
    (found,) = store.list()
    page = _LISTING.format(store._prefix)
    proxy.fail("error", status=200, code="", page=page, method="GET")
    assert "are damaged" in refusal(lambda: list(store.list()), TransientError)
    assert list(store.list()) == [found]


@pytest.mark.parametrize("new", [b"new!" * 25_000, b"short", b""], ids=["equal", "short", "empty"])
def test_an_object_replaced_during_a_read_is_read_completely(
    store: S3Directory, proxy: FaultProxy, server: S3Server, new: bytes
) -> None:
    old = b"old!" * 25_000
    store.put("key", old)
    direct = open_s3(server, store._prefix)
    proxy.fail("cut", method="GET")
    proxy.fail("call", method="GET", call=lambda: direct.put("key", new))
    assert store.get("key") == new


def test_an_object_that_changes_during_each_read(
    store: S3Directory, proxy: FaultProxy, server: S3Server
) -> None:
    direct, contents = open_s3(server, store._prefix), itertools.count()

    def replace_object() -> None:
        direct.put("key", b"%07d!" % next(contents) * 2**18)

    replace_object()
    for _ in range(20):
        proxy.fail("cut", method="GET")
        proxy.fail("call", method="GET", call=replace_object)
    text = refusal(lambda: store.get("key"), TransientError)
    assert "the object changes during each read" in text


def test_a_body_that_stalls_is_continued(server: S3Server, proxy: FaultProxy) -> None:
    store = open_proxied(server, proxy, idle_seconds=0.5)
    content = put_random(store)
    hit = proxy.fail("stall_in_body", times=2, method="GET")
    assert store.get("key") == content
    assert hit.times == 0


def test_a_slow_body_completes_if_it_progresses(server: S3Server, proxy: FaultProxy) -> None:
    store = open_proxied(server, proxy, idle_seconds=0.2, budget_seconds=1)
    content = put_random(store)
    proxy.fail("slow", method="GET", bytes_per_second=200_000)
    assert store.get("key") == content
    proxy.fail("slow", times=10, method="GET", bytes_per_second=5_000)
    assert "less than 1 MiB arrived in 1 s" in refusal(lambda: store.get("key"), TransientError)


def test_damage_in_transfer_differs_from_damage_in_the_store(
    store: S3Directory, proxy: FaultProxy
) -> None:
    store.put("key", b"0123456789")
    hit = proxy.fail("corrupt", method="GET", offset=5)
    assert store.get("key") == b"0123456789"
    assert hit.times == 0
    proxy.fail("corrupt", times=2, method="GET", offset=5)
    text = refusal(lambda: store.get("key"), DataError)
    assert text == f"{store.uri}/key is damaged: sha256 27f227be134e…, expected 84d89877f0d4…"
    proxy.heal()
    proxy.fail("corrupt", method="GET", offset=5)
    proxy.fail("corrupt", method="GET", offset=6)
    assert "is damaged" in refusal(lambda: store.get("key"), TransientError)


def test_damage_on_the_disk_of_the_store(versitygw: S3Server) -> None:
    store = open_s3(versitygw)
    store.put("key", b"0123456789")
    (path,) = (versitygw.folder / "objects").rglob(f"{store.uri.split('/')[3]}/key")
    with path.open("r+b") as file:
        file.write(b"x")
    assert "is damaged" in refusal(lambda: store.get("key"), DataError)


@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_a_damaged_upload_is_retried(
    store: S3Directory, proxy: FaultProxy, large_file: Path, method: str
) -> None:
    """A part of an object, and the list that joins the parts."""
    hit = proxy.fail("corrupt_upload", method=method, target="uploadId")
    store.put("key", large_file)
    assert hit.times == 0
    assert store.get("key") == large_file.read_bytes()


def test_a_claim_on_a_store_that_refuses_conditions(store: S3Directory, proxy: FaultProxy) -> None:
    proxy.fail("error", status=501, code="NotImplemented", method="PUT")
    assert store.put_if_absent("claim", b"mine") is True
    assert "if-none-match" not in proxy.seen[-2].headers
    assert store.put_if_absent("claim", b"another's") is False
    assert store.get("claim") == b"mine"


def test_a_server_that_accepts_no_connection(versitygw: S3Server) -> None:
    """Its queue is full: the first packet is not answered."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, ExitStack() as taken:
        address = listener.getsockname()
        for _ in range(8):
            waiting = taken.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(address)
        endpoint = f"http://127.0.0.1:{address[1]}"
        policy = replace(POLICY, connect_seconds=0.1, idle_seconds=60, budget_seconds=0.3)
        store = open_s3(versitygw, endpoint=endpoint, retry_policy=policy)
        text = refusal(lambda: store.get("key"), TransientError)
    assert f"no answer from {endpoint} for 0.3 s: it does not answer in time" in text


def test_a_server_that_is_down(versitygw: S3Server, caplog: pytest.LogCaptureFixture) -> None:
    endpoint = f"http://127.0.0.1:{free_port()}"
    store = open_s3(versitygw, "p/", endpoint=endpoint, retry_policy=replace(POLICY, **SHORT))
    with caplog.at_level(logging.DEBUG):
        text = refusal(lambda: store.get("key"), TransientError)
    assert text == (
        f"s3://bucket/p/key: no answer from {endpoint} for 0.3 s: it refuses the connection; "
        "check the network and AWS_ENDPOINT_URL, then repeat the command"
    )
    warnings = [entry.message for entry in caplog.records if entry.name == "ssd"]
    host = endpoint.removeprefix("http://")
    assert warnings == [f"{host}: it refuses the connection; retrying for up to 0.3 s"]
    assert_no_secrets(caplog.text)
