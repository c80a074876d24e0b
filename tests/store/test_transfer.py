"""Copies of directories: complete, in order, and continued after a kill."""

import sys
from pathlib import Path

import pytest

from ssd_core.errors import DataError, UsageError
from ssd_core.store import LocalDirectory, Location
from ssd_core.store.transfer import MirroredFile, download_directory, upload_directory
from tests.faults.fault_proxy import FaultProxy
from tests.store.conftest import content_of, new_location, run_killed, use_server

FILES = {"a.bin": b"a" * 1000, "empty": b"", "sub/b.txt": b"second\n", "results.json": b"{}\n"}
LAST = "results.json"


@pytest.fixture(params=["local", "versitygw", "swift"])
def location(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Location:
    """An empty location of each kind."""
    if request.param == "local":
        return LocalDirectory(tmp_path / "location")
    use_server(monkeypatch, request.getfixturevalue(request.param), tmp_path)
    return new_location()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory with `FILES` and a partial file."""
    for name, content in {**FILES, "sub/.partial-x": b"half"}.items():
        path = tmp_path / "directory" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "directory"


def puts(proxy: FaultProxy) -> list[str]:
    paths = [request.target.partition("?")[0] for request in proxy.seen if request.method == "PUT"]
    return [path.split("/", 3)[3] for path in paths]


def test_an_upload_and_a_download(location: Location, directory: Path, tmp_path: Path) -> None:
    upload_directory(directory, location, last=LAST)
    assert content_of(location) == FILES
    upload_directory(directory, location, last=LAST)
    download_directory(location, tmp_path / "back")
    assert content_of(LocalDirectory(tmp_path / "back")) == FILES
    (tmp_path / "back" / "a.bin").write_bytes(b"b" * 1000)
    (tmp_path / "back" / "own").write_bytes(b"mine")
    download_directory(location, tmp_path / "back")
    assert content_of(LocalDirectory(tmp_path / "back")) == {**FILES, "own": b"mine"}


def test_a_prefix_can_be_left_out(location: Location, directory: Path, tmp_path: Path) -> None:
    upload_directory(directory, location, last=LAST)
    download_directory(location, tmp_path / "back", leave_out="sub/")
    assert content_of(LocalDirectory(tmp_path / "back")).keys() == FILES.keys() - {"sub/b.txt"}


def test_missing_files_are_named(location: Location, directory: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist or is empty"):
        download_directory(location, tmp_path / "back")
    (directory / LAST).unlink()
    with pytest.raises(DataError, match=r"results\.json is missing; nothing was uploaded"):
        upload_directory(directory, location, last=LAST)
    assert content_of(location) == {}


def test_the_last_file_is_put_last_and_equal_files_are_skipped(
    directory: Path, user_proxy: FaultProxy
) -> None:
    location = new_location()
    upload_directory(directory, location, last=LAST)
    assert puts(user_proxy) == ["a.bin", "empty", "sub/b.txt", LAST]
    user_proxy.heal()
    upload_directory(directory, location, last=LAST)
    assert puts(user_proxy) == []
    (directory / "a.bin").write_bytes(b"b" * 1000)
    upload_directory(directory, location, last=LAST)
    changes = [request for request in user_proxy.seen if request.method in {"PUT", "DELETE"}]
    assert [request.method for request in changes] == ["DELETE", "PUT", "PUT"]
    assert changes[0].target.endswith(LAST)
    assert puts(user_proxy) == ["a.bin", LAST]


def test_a_killed_upload_is_continued(directory: Path, user_proxy: FaultProxy) -> None:
    location = new_location()
    program = (
        "import sys; from pathlib import Path\n"
        "from ssd_core.store import Location\n"
        "from ssd_core.store.transfer import upload_directory\n"
        f"upload_directory(Path(sys.argv[1]), Location.parse(sys.argv[2]), last={LAST!r})\n"
    )
    command = [sys.executable, "-c", program, str(directory), location.uri]
    run_killed(command, user_proxy, "b.txt", after=lambda: True)
    assert LAST not in content_of(location)
    user_proxy.heal()
    upload_directory(directory, location, last=LAST)
    assert content_of(location) == FILES
    assert not {"a.bin", "empty"} & set(puts(user_proxy))


def test_a_damaged_download_is_retried(
    directory: Path, user_proxy: FaultProxy, tmp_path: Path
) -> None:
    location = new_location()
    upload_directory(directory, location, last=LAST)
    user_proxy.fail("corrupt", method="GET", target=r"a\.bin", offset=10)
    download_directory(location, tmp_path / "back")
    assert content_of(LocalDirectory(tmp_path / "back")) == FILES


def test_a_mirrored_file_is_fetched_as_last_published(location: Location, tmp_path: Path) -> None:
    here, elsewhere = tmp_path / "here" / "log", tmp_path / "elsewhere" / "log"
    here.parent.mkdir()
    here.write_text("one\n")
    log = MirroredFile(here, location)
    log.publish()
    here.write_text("one\ntwo\n")
    log.publish()
    here.write_text("one\ntwo\nthree\n")
    MirroredFile(elsewhere, location).fetch()
    assert elsewhere.read_text() == "one\ntwo\n"
    log.fetch()
    assert here.read_text() == "one\ntwo\n"
    location.delete("log")
    log.fetch()
    assert not here.exists()
