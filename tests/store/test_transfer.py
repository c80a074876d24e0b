"""Directories on their way to a place and back: whole, in order, and continued after a kill."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ssd_core.errors import DataError, UsageError
from ssd_core.store import LocalDirectory, Location
from ssd_core.store.transfer import MirroredFile, download_directory, upload_directory
from tests.faults.fault_proxy import FaultProxy
from tests.store.conftest import BUCKET, own_prefix, use_server
from tests.store.s3_servers import S3Server

FILES = {"a.bin": b"a" * 1000, "empty": b"", "sub/b.txt": b"second\n", "results.json": b"{}\n"}
LAST = "results.json"


@pytest.fixture(params=["local", "versitygw", "swift"])
def place(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Location:
    """An empty place of each kind."""
    if request.param == "local":
        return LocalDirectory(tmp_path / "place")
    use_server(monkeypatch, request.getfixturevalue(request.param), tmp_path)
    return Location.parse(f"s3://{BUCKET}/{own_prefix()}")


@pytest.fixture
def proxy(
    versitygw: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[FaultProxy]:
    """A proxy on the way to the server."""
    use_server(monkeypatch, versitygw, tmp_path)
    with FaultProxy(versitygw.port) as started:
        monkeypatch.setenv("AWS_ENDPOINT_URL", started.endpoint)
        yield started


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory with `FILES`, and one that is only half written."""
    for name, content in {**FILES, "sub/.partial-x": b"half"}.items():
        path = tmp_path / "directory" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "directory"


def content(place: Location) -> dict[str, bytes]:
    return {found.key: place.get(found.key) for found in place.list()}


def puts(proxy: FaultProxy) -> list[str]:
    paths = [request.target.partition("?")[0] for request in proxy.seen if request.method == "PUT"]
    return [path.split("/", 3)[3] for path in paths]


def test_there_and_back(place: Location, directory: Path, tmp_path: Path) -> None:
    upload_directory(directory, place, last=LAST)
    assert content(place) == FILES
    upload_directory(directory, place, last=LAST)
    download_directory(place, tmp_path / "back")
    assert content(LocalDirectory(tmp_path / "back")) == FILES
    (tmp_path / "back" / "a.bin").write_bytes(b"b" * 1000)
    (tmp_path / "back" / "own").write_bytes(b"mine")
    download_directory(place, tmp_path / "back")
    assert content(LocalDirectory(tmp_path / "back")) == {**FILES, "own": b"mine"}


def test_a_part_can_be_left_out(place: Location, directory: Path, tmp_path: Path) -> None:
    upload_directory(directory, place, last=LAST)
    download_directory(place, tmp_path / "back", leave_out="sub/")
    assert content(LocalDirectory(tmp_path / "back")).keys() == FILES.keys() - {"sub/b.txt"}


def test_what_is_not_there_is_named(place: Location, directory: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing is there"):
        download_directory(place, tmp_path / "back")
    (directory / LAST).unlink()
    with pytest.raises(DataError, match=r"results\.json is missing; nothing is uploaded"):
        upload_directory(directory, place, last=LAST)
    assert content(place) == {}


def test_the_last_file_comes_last_and_equal_ones_stay(directory: Path, proxy: FaultProxy) -> None:
    place = f"s3://{BUCKET}/{own_prefix()}".rstrip("/")
    upload_directory(directory, Location.parse(place), last=LAST)
    assert puts(proxy) == ["a.bin", "empty", "sub/b.txt", LAST]
    proxy.heal()
    upload_directory(directory, Location.parse(place), last=LAST)
    assert puts(proxy) == []
    (directory / "a.bin").write_bytes(b"b" * 1000)
    upload_directory(directory, Location.parse(place), last=LAST)
    changes = [request for request in proxy.seen if request.method in {"PUT", "DELETE"}]
    assert [request.method for request in changes] == ["DELETE", "PUT", "PUT"]
    assert changes[0].target.endswith(LAST)
    assert puts(proxy) == ["a.bin", LAST]


def test_a_killed_upload_is_continued(directory: Path, proxy: FaultProxy) -> None:
    place = f"s3://{BUCKET}/{own_prefix()}".rstrip("/")
    program = (
        "import sys; from pathlib import Path\n"
        "from ssd_core.store import Location\n"
        "from ssd_core.store.transfer import upload_directory\n"
        f"upload_directory(Path(sys.argv[1]), Location.parse(sys.argv[2]), last={LAST!r})\n"
    )
    victim: list[int] = []
    proxy.fail("call", method="PUT", target="b.txt", call=lambda: os.kill(victim[0], 9))
    words = [sys.executable, "-c", program, str(directory), place]
    with subprocess.Popen(words, stderr=subprocess.DEVNULL) as process:
        victim.append(process.pid)
    assert process.returncode == -signal.SIGKILL
    assert LAST not in content(Location.parse(place))
    proxy.heal()
    upload_directory(directory, Location.parse(place), last=LAST)
    assert content(Location.parse(place)) == FILES
    assert not {"a.bin", "empty"} & set(puts(proxy))


def test_a_damaged_download_is_repeated(directory: Path, proxy: FaultProxy, tmp_path: Path) -> None:
    place = f"s3://{BUCKET}/{own_prefix()}".rstrip("/")
    upload_directory(directory, Location.parse(place), last=LAST)
    proxy.fail("corrupt", method="GET", target=r"a\.bin", offset=10)
    download_directory(Location.parse(place), tmp_path / "back")
    assert content(LocalDirectory(tmp_path / "back")) == FILES


def test_a_mirrored_file_is_the_last_one_published(place: Location, tmp_path: Path) -> None:
    here, elsewhere = tmp_path / "here" / "log", tmp_path / "elsewhere" / "log"
    here.parent.mkdir()
    here.write_text("one\n")
    log = MirroredFile(here, place)
    log.publish()
    here.write_text("one\ntwo\n")
    log.publish()
    here.write_text("one\ntwo\nthree\n")
    MirroredFile(elsewhere, place).fetch()
    assert elsewhere.read_text() == "one\ntwo\n"
    log.fetch()
    assert here.read_text() == "one\ntwo\n"
    place.delete("log")
    log.fetch()
    assert not here.exists()
