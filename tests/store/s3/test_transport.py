"""Connections to a store: proxies, certificates, addressing, retries."""

import base64
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ssd_core.errors import SsdError, TransientError, UsageError
from ssd_core.store.s3.settings import RetryPolicy
from ssd_core.store.s3.transport import RetryBudget
from tests.faults.fault_proxy import FaultProxy
from tests.store.conftest import new_location, refusal, run_server
from tests.store.servers import S3Server, VersityServer, free_port

pytestmark = pytest.mark.usefixtures("user_environment")


def works() -> bool:
    store = new_location()
    store.put("key", b"0123456789")
    listed = [found.key for found in store.list()]
    return store.get("key", 3, 4) == b"3456" and listed == ["key"]


def error_of_get(kind: type[SsdError]) -> str:
    """Return the message of the error that a request raises in this environment."""
    return refusal(lambda: new_location().get("key"), kind)


def test_a_forward_proxy_with_a_password(
    versitygw: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FaultProxy(versitygw.port) as proxy:
        address = proxy.endpoint.replace("//", "//user:canary%20w%C3%B6rd@")
        monkeypatch.setenv("HTTP_PROXY", address)
        assert works()
        login = base64.b64encode("user:canary wörd".encode()).decode()
        assert {r.headers["proxy-authorization"] for r in proxy.seen} == {f"Basic {login}"}
        assert {r.headers["host"] for r in proxy.seen} == {f"127.0.0.1:{versitygw.port}"}


def test_a_store_that_needs_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("NO_PROXY", "other,127.0.0.1")
    assert works()


def test_a_proxy_that_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://user:canary@127.0.0.1:{free_port()}")
    monkeypatch.setenv("SSD_STORE_PATIENCE", "0.1")
    text = error_of_get(TransientError)
    assert "the proxy fails; check HTTPS_PROXY, HTTP_PROXY and NO_PROXY" in text


@pytest.mark.parametrize(
    ("name", "variable"), [("versitygw", "HTTP_PROXY"), ("tls_server", "HTTPS_PROXY")]
)
def test_a_proxy_that_requires_a_login(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, name: str, variable: str
) -> None:
    """A retry would not help, and the store is not the cause."""
    server: S3Server = request.getfixturevalue(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
    with FaultProxy(server.port) as proxy:
        monkeypatch.setenv(variable, proxy.endpoint)
        proxy.fail("error", times=100, status=407, code="")
        text = error_of_get(UsageError)
        assert "the proxy requires a login; set http://user:password@host:port" in text
        assert len(proxy.seen) == 1


@pytest.mark.parametrize(
    ("proxy", "expected"),
    [
        ("socks5://user:canary@host:1", "is invalid; expected http://host:port"),
        ("http://user:canary@host:port", "is invalid; expected http://host:port"),
        ("http://user:canary\n@host:1", "contains a line break or another character"),
        ("http://user:canaryé@host:1", "contains a line break or another character"),
    ],
)
def test_an_invalid_proxy(monkeypatch: pytest.MonkeyPatch, proxy: str, expected: str) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy)
    assert error_of_get(UsageError).startswith(f"HTTP_PROXY {expected}")


@pytest.mark.parametrize(
    ("addressing", "host", "path"),
    [("virtual", "bucket.s3.test", "/"), ("path", "s3.test", "/bucket")],
)
def test_the_bucket_is_in_the_host_or_in_the_path(
    versitygw: S3Server, monkeypatch: pytest.MonkeyPatch, addressing: str, host: str, path: str
) -> None:
    """The proxy answers for the host names."""
    with FaultProxy(versitygw.port) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.endpoint)
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://s3.test")
        monkeypatch.setenv("AWS_S3_ADDRESSING_STYLE", addressing)
        assert works()
        assert {request.headers["host"] for request in proxy.seen} == {host}
        assert all(request.target.startswith(path) for request in proxy.seen)


def test_a_session_token_is_sent(versitygw: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with FaultProxy(versitygw.port) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        monkeypatch.setenv("AWS_SESSION_TOKEN", "canary token")
        text = error_of_get(UsageError)
        assert "the session token is invalid; renew or remove AWS_SESSION_TOKEN" in text
        assert {r.headers["x-amz-security-token"] for r in proxy.seen} == {"canary token"}


@pytest.fixture(scope="module")
def tls_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A server with a certificate that it signed itself."""
    server = VersityServer(tmp_path_factory.mktemp("tls"))
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-keyout", "key.pem", "-out", "certificate.pem"]
    subprocess.run(command, cwd=server.folder, check=True, capture_output=True)
    server.certificate = server.folder / "certificate.pem"
    with run_server(server):
        yield server


@pytest.mark.parametrize("variable", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"])
def test_a_private_certificate_authority(
    tls_server: S3Server, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", tls_server.endpoint)
    monkeypatch.setenv(variable, str(tls_server.certificate))
    assert works()


def test_a_tunnel_through_a_proxy(tls_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", tls_server.endpoint)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tls_server.certificate))
    with FaultProxy(tls_server.port) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.endpoint)
        assert works()
        assert {request.method for request in proxy.seen} == {"CONNECT"}


def test_a_certificate_that_is_not_trusted(
    tls_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", tls_server.endpoint)
    text = error_of_get(UsageError)
    assert f"the certificate of {tls_server.endpoint} is not trusted" in text
    assert "AWS_CA_BUNDLE" in text


def test_a_server_without_tls(versitygw: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", versitygw.endpoint.replace("http:", "https:"))
    assert "does not support TLS; expected http://" in error_of_get(UsageError)


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_unreadable_certificates(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str | None
) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://127.0.0.1:1")
    monkeypatch.setenv("AWS_CA_BUNDLE", str(path))
    text = error_of_get(UsageError)
    assert text == f"{path}: cannot read certificates; check AWS_CA_BUNDLE"


def test_pauses_grow_within_the_budget_and_respect_retry_after(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        nonlocal now
        pauses.append(seconds)
        now += seconds

    monkeypatch.setattr("time.monotonic", lambda: now)
    monkeypatch.setattr("time.sleep", sleep)
    budget = RetryBudget("host", RetryPolicy(budget_seconds=60))
    while budget.pause("it fails"):
        pass
    assert 50 < sum(pauses) < 60
    assert all(0.05 * 2**n <= pause <= 0.2 * 2**n for n, pause in enumerate(pauses[:4]))
    assert max(pauses) <= 5
    budget.restore()
    assert budget.pause("it fails", retry_after=59)
    assert pauses[-1] == 59
    assert not budget.pause("it fails", retry_after=59)
