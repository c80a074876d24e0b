"""The ways to a store: proxies, certificates, addresses, pauses."""

import base64
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ssd_core.errors import SurroundingsError, UsageError
from ssd_core.store import Location
from ssd_core.store.s3.settings import Patience
from ssd_core.store.s3.transport import Tries
from tests.faults.fault_proxy import FaultProxy
from tests.store.conftest import BUCKET, own_prefix, refusal, run_server
from tests.store.s3_servers import SECRET_KEY, S3Server, VersityServer, free_port


@pytest.fixture
def environment(versitygw: S3Server, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The environment of a user of the server."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", versitygw.endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", versitygw.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    monkeypatch.setenv("SSD_STORE_PATIENCE", "20")
    return monkeypatch


def works(store: Location) -> bool:
    store.put("key", b"0123456789")
    listed = [found.key for found in store.list()]
    return store.get("key", 3, 4) == b"3456" and listed == ["key"]


def test_a_store_from_the_environment(environment: pytest.MonkeyPatch) -> None:
    assert works(Location.parse(f"s3://{BUCKET}/{own_prefix()}"))


def test_a_forward_proxy_with_a_password(
    versitygw: S3Server, environment: pytest.MonkeyPatch
) -> None:
    with FaultProxy(versitygw.port) as proxy:
        address = proxy.endpoint.replace("//", "//user:canary%20word@")
        environment.setenv("HTTP_PROXY", address)
        store = Location.parse(f"s3://{BUCKET}/{own_prefix()}")
        assert works(store)
        login = base64.b64encode(b"user:canary word").decode()
        assert {r.headers["proxy-authorization"] for r in proxy.seen} == {f"Basic {login}"}
        assert {r.headers["host"] for r in proxy.seen} == {f"127.0.0.1:{versitygw.port}"}


def test_a_store_that_needs_no_proxy(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    environment.setenv("NO_PROXY", "other,127.0.0.1")
    assert works(Location.parse(f"s3://{BUCKET}/{own_prefix()}"))


def test_a_proxy_that_is_away(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("HTTP_PROXY", f"http://user:canary@127.0.0.1:{free_port()}")
    environment.setenv("SSD_STORE_PATIENCE", "0.1")
    store = Location.parse(f"s3://{BUCKET}/")
    text = refusal(lambda: store.get("key"), SurroundingsError)
    assert "the proxy fails; check HTTPS_PROXY, HTTP_PROXY and NO_PROXY" in text


@pytest.mark.parametrize(
    ("name", "variable"), [("versitygw", "HTTP_PROXY"), ("tls_server", "HTTPS_PROXY")]
)
def test_a_proxy_that_wants_a_login(
    request: pytest.FixtureRequest, environment: pytest.MonkeyPatch, name: str, variable: str
) -> None:
    """Waiting would not help, and the store is not to blame."""
    server: S3Server = request.getfixturevalue(name)
    environment.setenv("AWS_ENDPOINT_URL", server.endpoint)
    with FaultProxy(server.port) as proxy:
        environment.setenv(variable, proxy.endpoint)
        proxy.fail("error", times=100, status=407, code="")
        store = Location.parse(f"s3://{BUCKET}/")
        text = refusal(lambda: store.get("key"), UsageError)
        assert "the proxy wants a login; give http://user:password@host:port" in text
        assert len(proxy.seen) == 1


def test_a_proxy_that_cannot_be(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("HTTP_PROXY", "socks5://user:canary@host:1")
    text = refusal(lambda: Location.parse(f"s3://{BUCKET}/").get("key"), UsageError)
    assert text == "HTTP_PROXY cannot be used; expected http://host:port"


def test_virtual_hosts(versitygw: S3Server, environment: pytest.MonkeyPatch) -> None:
    """The bucket is part of the host name; the proxy stands in for the names."""
    with FaultProxy(versitygw.port) as proxy:
        environment.setenv("HTTP_PROXY", proxy.endpoint)
        environment.setenv("AWS_ENDPOINT_URL", "http://s3.test")
        environment.setenv("AWS_S3_ADDRESSING_STYLE", "virtual")
        assert works(Location.parse(f"s3://{BUCKET}/{own_prefix()}"))
        assert {request.headers["host"] for request in proxy.seen} == {f"{BUCKET}.s3.test"}


def test_the_bucket_in_the_path(versitygw: S3Server, environment: pytest.MonkeyPatch) -> None:
    with FaultProxy(versitygw.port) as proxy:
        environment.setenv("HTTP_PROXY", proxy.endpoint)
        environment.setenv("AWS_ENDPOINT_URL", "http://s3.test")
        environment.setenv("AWS_S3_ADDRESSING_STYLE", "path")
        assert works(Location.parse(f"s3://{BUCKET}/{own_prefix()}"))
        assert {request.headers["host"] for request in proxy.seen} == {"s3.test"}
        assert all(request.target.startswith(f"/{BUCKET}") for request in proxy.seen)


def test_a_session_token_is_sent(versitygw: S3Server, environment: pytest.MonkeyPatch) -> None:
    with FaultProxy(versitygw.port) as proxy:
        environment.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        environment.setenv("AWS_SESSION_TOKEN", "canary token")
        text = refusal(lambda: Location.parse(f"s3://{BUCKET}/").get("key"), UsageError)
        assert "the session token is not valid; renew or remove AWS_SESSION_TOKEN" in text
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
def test_an_authority_of_ones_own(
    tls_server: S3Server, environment: pytest.MonkeyPatch, variable: str
) -> None:
    environment.setenv("AWS_ENDPOINT_URL", tls_server.endpoint)
    environment.setenv(variable, str(tls_server.certificate))
    assert works(Location.parse(f"s3://{BUCKET}/{own_prefix()}"))


def test_a_tunnel_through_a_proxy(tls_server: S3Server, environment: pytest.MonkeyPatch) -> None:
    environment.setenv("AWS_ENDPOINT_URL", tls_server.endpoint)
    environment.setenv("AWS_CA_BUNDLE", str(tls_server.certificate))
    with FaultProxy(tls_server.port) as proxy:
        environment.setenv("HTTPS_PROXY", proxy.endpoint)
        assert works(Location.parse(f"s3://{BUCKET}/{own_prefix()}"))
        assert {request.method for request in proxy.seen} == {"CONNECT"}


def test_a_certificate_that_is_not_trusted(
    tls_server: S3Server, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("AWS_ENDPOINT_URL", tls_server.endpoint)
    store = Location.parse(f"s3://{BUCKET}/")
    text = refusal(lambda: store.get("key"), UsageError)
    assert f"the certificate of {tls_server.endpoint} is not trusted" in text
    assert "AWS_CA_BUNDLE" in text


def test_tls_where_there_is_none(versitygw: S3Server, environment: pytest.MonkeyPatch) -> None:
    environment.setenv("AWS_ENDPOINT_URL", versitygw.endpoint.replace("http:", "https:"))
    store = Location.parse(f"s3://{BUCKET}/")
    assert "speaks no TLS; expected http://" in refusal(lambda: store.get("key"), UsageError)


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_authorities_that_cannot_be_read(
    environment: pytest.MonkeyPatch, tmp_path: Path, content: str | None
) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    environment.setenv("AWS_ENDPOINT_URL", "https://127.0.0.1:1")
    environment.setenv("AWS_CA_BUNDLE", str(path))
    text = refusal(lambda: Location.parse(f"s3://{BUCKET}/").get("key"), UsageError)
    assert text == f"{path}: no certificates can be read there; see AWS_CA_BUNDLE"


def test_pauses_grow_stay_within_the_budget_and_heed_the_store(
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
    tries = Tries("host", Patience(budget_seconds=60))
    while tries.pause("it fails"):
        pass
    assert 50 < sum(pauses) < 60
    assert all(0.05 * 2**n <= pause <= 0.2 * 2**n for n, pause in enumerate(pauses[:4]))
    assert max(pauses) <= 5
    tries.advance()
    assert tries.pause("it fails", retry_after=59)
    assert pauses[-1] == 59
    assert not tries.pause("it fails", retry_after=59)
