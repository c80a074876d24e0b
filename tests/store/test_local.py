"""Local directories: atomic writes under races, full disks and kills."""

import multiprocessing
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ssd_core.errors import TransientError, UsageError
from ssd_core.store import Location, local_path
from ssd_core.store.local import (
    LocalDirectory,
    explain_disk_errors,
    make_directory,
    own_temporary_directory,
    replace_file,
    write_file,
)


def test_failed_write_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_file(path, "old")

    def fail_half_way() -> None:
        with replace_file(path) as partial_path:
            partial_path.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_half_way()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def _put_if_absent(root: Path, barrier: object, number: int, winners: object) -> None:
    barrier.wait()  # type: ignore[attr-defined]
    if LocalDirectory(root).put_if_absent("claim", str(number).encode()):
        winners.put(number)  # type: ignore[attr-defined]


def test_one_of_many_writers_wins(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    barrier, winners = context.Barrier(4), context.Queue()
    processes = [
        context.Process(target=_put_if_absent, args=(tmp_path, barrier, number, winners))
        for number in range(4)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    winner = winners.get()
    assert winners.empty()
    assert (tmp_path / "claim").read_text() == str(winner)
    assert [entry.key for entry in LocalDirectory(tmp_path).list()] == ["claim"]


def test_a_full_disk_is_reported_with_the_remedy(tmp_path: Path) -> None:
    """A file size limit makes a write fail as a full disk does."""
    path = tmp_path / "file"
    write_file(path, "old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(TransientError, match="the disk is full; free some space"):
            write_file(path, b"x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_text() == "old"


def test_no_directory_for_temporary_files() -> None:
    """With a file size limit of 0, none of the usual directories is writable."""
    code = (
        "import resource, signal; from ssd_core.store.cache import open_cache\n"
        "from ssd_core.errors import UsageError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
        "try: open_cache()\n"
        "except UsageError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "no directory for temporary files is writable; set TMPDIR to one\n"


def test_a_temporary_directory_of_another_user_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    directory = own_temporary_directory("cache")
    assert directory.stat().st_mode & 0o777 == 0o700
    assert own_temporary_directory("cache") == directory
    monkeypatch.setattr("os.getuid", lambda: 12345)  # its name was guessed by another user
    directory.rename(tmp_path / "ssd-cache-12345")
    with pytest.raises(UsageError, match="ssd-cache-12345 belongs to another user"):
        own_temporary_directory("cache")


def test_an_unwritable_path_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UsageError, match="cannot write there"):
        write_file(tmp_path / "file" / "below", "x")


def test_a_path_where_no_directory_can_be_created() -> None:
    text = "/proc/ssd/x: cannot write there: no directory can be created"
    for call in (
        lambda: write_file(Path("/proc/ssd/x/file"), "x"),
        lambda: LocalDirectory(Path("/proc/ssd/x")).put("key", b"x"),
        lambda: LocalDirectory(Path("/proc/ssd/x")).put_if_absent("key", b"x"),
    ):
        with pytest.raises(UsageError, match=f"^{text}$"):
            call()


def test_a_name_that_is_too_long(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot write there: file name too long"):
        make_directory(tmp_path / ("x" * 300))
    with pytest.raises(UsageError, match="cannot read there: file name too long"):
        LocalDirectory(tmp_path).get("x" * 300)


def test_a_failed_read_is_not_reported_as_a_write(tmp_path: Path) -> None:
    with (
        pytest.raises(UsageError, match=f"^{tmp_path}: cannot read there: is a directory$"),
        explain_disk_errors(tmp_path, "read"),
    ):
        tmp_path.read_bytes()
    # Its first bytes are not readable: the system reports the error of a broken disk.
    with pytest.raises(TransientError, match="mem: the disk failed: input/output error"):
        LocalDirectory(Path("/proc/self")).get("mem")


def test_kill_during_a_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_file(path, "old")
    code = (
        "import sys, time; from pathlib import Path\n"
        "from ssd_core.store.local import replace_file\n"
        "with replace_file(Path(sys.argv[1])) as partial:\n"
        "    partial.write_text('half'); print('writing', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        process.kill()
    assert path.read_text() == "old"
    assert [entry.key for entry in LocalDirectory(tmp_path).list()] == ["file"]


def test_uris(tmp_path: Path) -> None:
    store = Location.parse(f"file://{tmp_path}")
    store.put("key", b"x")
    assert (tmp_path / "key").read_bytes() == b"x"
    assert local_path("relative/path") == local_path("./relative/path") == Path("relative/path")
    assert local_path("run:1/a?b#c") == Path("run:1/a?b#c")
    assert local_path("file:///with%20space") == Path("/with space")
    assert local_path("file://localhost/a?b") == Path("/a?b")


@pytest.mark.parametrize("uri", ["ftp://host/path", "http://[", "s3:/x://"])
def test_another_scheme(uri: str) -> None:
    with pytest.raises(
        UsageError, match="is not supported here; expected a path, file:// or s3://"
    ):
        Location.parse(uri)
    with pytest.raises(UsageError, match="is not supported here; expected a path or file://"):
        local_path(uri)


@pytest.mark.parametrize("uri", ["file://data/set", "file://", "file:///"])
def test_a_file_uri_of_another_machine_or_without_a_path(uri: str) -> None:
    with pytest.raises(UsageError, match="is not a path on this machine; expected file:///path"):
        Location.parse(uri)
