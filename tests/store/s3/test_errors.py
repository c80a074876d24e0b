"""Errors of an S3 store: exit code, remedy, one line, no secrets."""

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from ssd_core.errors import SsdError, TransientError, UsageError
from ssd_core.store.s3.directory import S3Directory
from ssd_core.store.s3.settings import RetryPolicy, S3Settings
from tests.faults.fault_proxy import FaultProxy
from tests.processes import SSD
from tests.requirements import missing
from tests.store.conftest import (
    POLICY,
    open_s3,
    refusal,
    run_server,
    settings_of,
    use_server,
)
from tests.store.servers import S3Server, VersityServer

NO_RETRIES = RetryPolicy(connect_seconds=5, idle_seconds=5, budget_seconds=0)


def refusals(store: S3Directory, kind: type[SsdError]) -> set[str]:
    """Return the messages of all operations, without the URI."""
    texts = {
        refusal(call, kind)
        for call in (
            lambda: store.put("key", b"x"),
            lambda: store.put_if_absent("key", b"x"),
            lambda: store.get("key"),
            lambda: store.get("key", 1, 2),
            lambda: store.head("key"),
            lambda: list(store.list("key")),
            lambda: store.delete("key"),
            lambda: list(store.unfinished_uploads()),
        )
    }
    locations = (f"{store.uri}/key: ", f"{store.uri}/: ")
    return {text.removeprefix(locations[0]).removeprefix(locations[1]) for text in texts}


def test_a_wrong_secret(server: S3Server) -> None:
    assert refusals(open_s3(server, secret_key="canary-wrong"), UsageError) == {
        "the keys are wrong; check AWS_SECRET_ACCESS_KEY, AWS_ACCESS_KEY_ID (SignatureDoesNotMatch)"
    }


def test_an_unknown_access_key(versitygw: S3Server) -> None:
    assert refusals(open_s3(versitygw, access_key="canary-nobody"), UsageError) == {
        "the store does not know the access key; check AWS_ACCESS_KEY_ID (XAdminUserNotFound)"
    }


def test_an_unknown_bucket(server: S3Server) -> None:
    assert refusals(S3Directory("no-such-bucket", "", settings_of(server)), UsageError) == {
        f"the bucket does not exist at {server.endpoint}; create it, or correct the name or "
        "AWS_ENDPOINT_URL"
    }


@pytest.mark.parametrize("shift", ["-1h", "+1h"])
def test_a_wrong_clock(
    server: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, shift: str
) -> None:
    faketime = shutil.which("faketime")
    if faketime is None:
        missing("faketime", "faketime is not installed: apt-get install faketime")
    use_server(monkeypatch, server, tmp_path)
    command = [faketime, "-f", shift, SSD, "verify", "s3://bucket/place"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: s3://bucket/place/: the clocks of this machine and of the store")


def test_no_credentials(server: S3Server) -> None:
    store = open_s3(server, access_key=None, secret_key=None)
    for text in refusals(store, UsageError):
        assert "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in text


@pytest.mark.parametrize(
    ("status", "code", "kind", "expected"),
    [
        (403, "InvalidAccessKeyId", UsageError, "does not know the access key"),
        (403, "AccessDenied", UsageError, "the access key needs permission to list"),
        (400, "ExpiredToken", TransientError, "renew AWS_SESSION_TOKEN"),
        (400, "InvalidToken", UsageError, "renew or remove AWS_SESSION_TOKEN"),
        (403, "RequestTimeTooSkewed", UsageError, "set the clock"),
        (400, "AuthorizationHeaderMalformed", UsageError, "set AWS_REGION"),
        (301, "PermanentRedirect", UsageError, "set AWS_REGION"),
        (400, "InvalidBucketName", UsageError, "the bucket name is invalid"),
        (400, "Strange", UsageError, "the store refuses the request (Strange)"),
        (403, "QuotaExceeded", TransientError, "the store is full or the quota is used up"),
        (413, "EntityTooLarge", TransientError, "the store is full or the quota is used up"),
        (507, "XMinioStorageFull", TransientError, "the store is full or the quota is used up"),
        (420, "SlowDown", TransientError, "the store throttles"),
        (429, "TooManyRequests", TransientError, "the store throttles"),
        (503, "ServiceUnavailable", TransientError, "the store failed"),
        (500, "InternalError", TransientError, "the store failed"),
        (504, "", TransientError, "the store failed"),
        (507, "", TransientError, "the store is full or the quota is used up"),
        (429, "", TransientError, "the store throttles"),
    ],
)
def test_an_error_code_has_an_exit_code_and_a_remedy(
    versitygw: S3Server, status: int, code: str, kind: type[SsdError], expected: str
) -> None:
    """The response repeats the headers of the request, which must not enter the message."""
    with FaultProxy(versitygw.port) as proxy:
        proxy.fail("error", times=1000, status=status, code=code)
        store = open_s3(versitygw, endpoint=proxy.endpoint, retry_policy=NO_RETRIES)
        for text in refusals(store, kind):
            assert expected in text
        assert kind.exit_code == (2 if kind is UsageError else 75)


def test_a_store_with_a_full_disk(tmp_path: Path) -> None:
    server = VersityServer(tmp_path)
    mount = f"mount -t tmpfs -o size=4m none {tmp_path}/objects"
    (tmp_path / "objects").mkdir()
    # In a separate namespace the small disk disappears with the server.
    if subprocess.run(["unshare", "-m", *mount.split()], capture_output=True).returncode != 0:
        missing("mount", "this user may not mount a small disk")
    server.wrapper = ("unshare", "-m", "sh", "-c", f'{mount} && exec "$@"', "sh")
    with run_server(server):
        store = open_s3(server, "")
        text = refusal(lambda: store.put("large", bytes(6 * 2**20)), TransientError)
        assert "the store is full or the quota is used up; free some space" in text
        store.put("small", b"x")
        assert [found.key for found in store.list()] == ["small"]


def test_xml_with_another_content_type(versitygw: S3Server) -> None:
    with FaultProxy(versitygw.port) as proxy:
        store = open_s3(versitygw, endpoint=proxy.endpoint)
        proxy.fail(
            "error", status=404, code="NoSuchKey", headers={"Content-Type": "text/xml; charset=x"}
        )
        with pytest.raises(FileNotFoundError):
            store.get("key")


@pytest.mark.parametrize("status", [200, 404])
@pytest.mark.parametrize(
    "page", ["", "<html><p>Welcome", "<html xmlns='http://www.w3.org/1999/xhtml'/>", '{"ok": true}']
)
def test_a_server_that_is_not_a_store(versitygw: S3Server, status: int, page: str) -> None:
    """A page during an operation of a store that has answered before is a fault of the network."""
    policy = replace(POLICY, budget_seconds=0.1)
    with FaultProxy(versitygw.port) as proxy:
        headers = {"Content-Type": "text/html"}
        fault = {"times": 1000, "status": status, "code": "", "page": page, "headers": headers}
        proxy.fail("error", **fault)
        store = open_s3(versitygw, endpoint=proxy.endpoint, retry_policy=policy)
        text = refusal(lambda: list(store.list()), UsageError)
        assert f"{proxy.endpoint} answers, but not as an S3 store; check AWS_ENDPOINT_URL" in text
        assert len(proxy.seen) > 1
        proxy.heal()
        assert list(store.list()) == []
        proxy.fail("error", **fault)
        text = refusal(lambda: list(store.list()), TransientError)
        assert f"the answers of {proxy.endpoint} are damaged; check the network" in text


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        ("http://127.0.0.1:1", "it refuses the connection"),
        ("http://no-such-host.invalid", "its name cannot be resolved"),
    ],
)
def test_an_unreachable_endpoint(endpoint: str, expected: str) -> None:
    settings = S3Settings(endpoint=endpoint, region="us-east-1", retry_policy=NO_RETRIES)
    for text in refusals(S3Directory("bucket", "", settings), TransientError):
        assert f"no answer from {endpoint} for 0 s: {expected}; check the network" in text
