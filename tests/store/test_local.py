"""Local directories: atomic writes under races, full disks and kills."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ssd_core.errors import TransientError, UsageError
from ssd_core.store.local import (
    LocalDirectory,
    explain_disk_errors,
    make_directory,
    own_temporary_directory,
    replace_file,
    write_file,
)
from tests.store.conftest import limit_file_size


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


def test_a_full_disk_is_reported_with_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_file(path, "old")
    with (
        limit_file_size(1000),
        pytest.raises(TransientError, match="the disk is full; free some space"),
    ):
        write_file(path, b"x" * 5000)
    assert path.read_text() == "old"


def test_no_directory_for_temporary_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a file size limit of 0, none of the usual directories is writable."""
    monkeypatch.setattr("tempfile.tempdir", None)
    with (
        limit_file_size(0),
        pytest.raises(
            UsageError, match="^no directory for temporary files is writable; set TMPDIR"
        ),
    ):
        own_temporary_directory("cache")


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
