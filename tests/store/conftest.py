"""Locations to test: the local disk, and real S3 servers, directly and through a fault proxy."""

import itertools
import os
import resource
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from ssd_core.errors import SsdError
from ssd_core.store.local import LocalDirectory
from ssd_core.store.location import Location
from ssd_core.store.s3.directory import S3Directory
from ssd_core.store.s3.settings import RetryPolicy, S3Settings
from tests.faults.fault_proxy import FaultProxy
from tests.requirements import missing
from tests.store.servers import (
    SECRET_KEY,
    RcloneServer,
    S3Server,
    SwiftServer,
    VersityServer,
    wait_until,
)

BUCKET = "bucket"
POLICY = RetryPolicy(
    connect_seconds=5, idle_seconds=10, budget_seconds=30, pause_seconds=0.01, settle_seconds=0.05
)
RACE_SECONDS = 10.0
"""Time from check to write of each of many writers on a busy machine."""
SERVERS = ("versitygw", "swift")
only_versitygw = pytest.mark.parametrize("server", ["versitygw"], indirect=True)
_numbers = itertools.count()


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the machine's proxies and credentials out of the tests."""
    for name in list(os.environ):
        if name.upper().startswith("AWS_") or name.upper().endswith(("_PROXY", "_CA_BUNDLE")):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def versitygw(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with run_server(VersityServer(tmp_path_factory.mktemp("versitygw"))) as server:
        yield server


@pytest.fixture(scope="session")
def swift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with run_server(SwiftServer(tmp_path_factory.mktemp("swift"))) as server:
        yield server


@pytest.fixture(scope="session")
def rclone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A server without conditional writes."""
    with run_server(RcloneServer(tmp_path_factory.mktemp("rclone"))) as server:
        yield server


@contextmanager
def run_server(server: S3Server) -> Iterator[S3Server]:
    """Run a server with an empty bucket; skip the test where it is not installed."""
    if server.find() is None:
        missing(server.name, f"{server.name} is not installed: {server.remedy}")
    server.start()
    try:
        open_s3(server, "")._client.make_bucket(BUCKET)
        yield server
    finally:
        server.stop(signal.SIGKILL)
        shutil.rmtree(server.folder)


def settings_of(server: S3Server, **changes: object) -> S3Settings:
    values = {
        "endpoint": server.endpoint,
        "region": "us-east-1",
        "access_key": server.access_key,
        "secret_key": SECRET_KEY,
        "ca_bundle": server.certificate and str(server.certificate),
        "retry_policy": POLICY,
    }
    return S3Settings(**(values | changes))  # type: ignore[arg-type]


def use_server(patch: pytest.MonkeyPatch, server: S3Server, folder: Path) -> None:
    """Configure a server in the environment, with its own cache and temporary directory."""
    patch.setenv("AWS_ENDPOINT_URL", server.endpoint)
    patch.setenv("AWS_ACCESS_KEY_ID", server.access_key)
    patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    patch.setenv("SSD_STORE_PATIENCE", "20")
    patch.setenv("SSD_CACHE_DIR", str(folder / "cache"))
    (folder / "tmp").mkdir()
    patch.setenv("TMPDIR", str(folder / "tmp"))
    patch.setattr(tempfile, "tempdir", None)


def open_s3(server: S3Server, prefix: str | None = None, **changes: object) -> S3Directory:
    """Return a directory on a server: an empty one, or that of a prefix."""
    prefix = own_prefix() if prefix is None else prefix
    return S3Directory(BUCKET, prefix, settings_of(server, **changes))


def own_prefix() -> str:
    """Return a prefix that no other test uses."""
    return f"test-{next(_numbers)}/"


def new_location() -> Location:
    """Return an empty directory in the store that the environment names."""
    return Location.parse(f"s3://{BUCKET}/{own_prefix()}")


@contextmanager
def limit_file_size(num_bytes: int) -> Iterator[None]:
    """Let writes of this process fail beyond a file size, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)


def content_of(location: Location) -> dict[str, bytes]:
    return {found.key: location.get(found.key) for found in location.list()}


def keys(location: Location) -> set[str]:
    return {found.key for found in location.list()}


@pytest.fixture
def user_environment(
    own_environment: None, monkeypatch: pytest.MonkeyPatch, versitygw: S3Server, tmp_path: Path
) -> None:
    """The environment of a user of versitygw."""
    use_server(monkeypatch, versitygw, tmp_path)


@pytest.fixture
def location(user_environment: None) -> Location:
    """An empty directory in versitygw."""
    return new_location()


@pytest.fixture
def user_proxy(
    user_environment: None, monkeypatch: pytest.MonkeyPatch, versitygw: S3Server
) -> Iterator[FaultProxy]:
    """A proxy between the user and versitygw."""
    with FaultProxy(versitygw.port) as started:
        monkeypatch.setenv("AWS_ENDPOINT_URL", started.endpoint)
        yield started


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest) -> S3Server:
    started: S3Server = request.getfixturevalue(request.param)
    return started


@pytest.fixture(params=["local", *SERVERS, "rclone"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Location:
    """An empty directory of each kind."""
    if request.param == "local":
        return LocalDirectory(tmp_path / "store")
    return open_s3(request.getfixturevalue(request.param))


@pytest.fixture(params=["local", *SERVERS, "rclone"])
def raced_store(request: pytest.FixtureRequest, tmp_path: Path) -> Location:
    """The same, with time to settle for concurrent writers; versitygw writes atomically."""
    if request.param == "local":
        return LocalDirectory(tmp_path / "store")
    settle_seconds = 0 if request.param == "versitygw" else RACE_SECONDS
    policy = replace(POLICY, settle_seconds=settle_seconds)
    return open_s3(request.getfixturevalue(request.param), retry_policy=policy)


@pytest.fixture
def proxy(server: S3Server) -> Iterator[FaultProxy]:
    with FaultProxy(server.port) as started:
        yield started


def run_killed(
    command: Sequence[str | Path], proxy: FaultProxy, target: str, *, after: Callable[[], bool]
) -> None:
    """Run a command, and kill it while it puts `target`, once `after` is true."""
    victim: list[int] = []

    def kill() -> None:
        assert wait_until(after)
        os.kill(victim[0], signal.SIGKILL)

    proxy.fail("call", method="PUT", target=target, call=kill)
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        victim.append(process.pid)
        process.communicate()
    assert process.returncode == -signal.SIGKILL


def refusal(call: Callable[[], object], kind: type[SsdError]) -> str:
    """Return the message of the error that a call must raise: one line, without secrets."""
    with pytest.raises(kind) as caught:
        call()
    assert type(caught.value) is kind
    text = str(caught.value)
    assert "\n" not in text
    assert_no_secrets(text)
    return text


def assert_no_secrets(text: str) -> None:
    for word in (SECRET_KEY, "canary", "ignature=", "AWS4-HMAC", "uthorization'"):
        assert word not in text
