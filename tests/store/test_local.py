"""Local directories: atomic writes under full disks and kills; files with a known hash."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ssd_core.errors import DataError, TransientError, UsageError
from ssd_core.store.known_file import KnownFile, read_arrays, write_arrays
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
    text = "/proc/ssd/x: cannot write there: no directory can be created; choose another path"
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
        pytest.raises(UsageError, match=f"^{tmp_path}: cannot read there: is a directory; "),
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


@pytest.mark.parametrize("dtype", ["f4", "f8", "f2", "i8", "i4", "u1", "?"])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 2), (2, 3, 4)])
def test_a_round_trip_of_arrays(tmp_path: Path, dtype: str, shape: tuple[int, ...]) -> None:
    array = np.arange(np.prod(shape, dtype=int)).astype(dtype).reshape(shape)
    directory = LocalDirectory(tmp_path)
    arrays = {"x": array, "reversed": array[..., ::-1].T if shape else array}
    found = read_arrays(directory, write_arrays(directory, "a", arrays))
    assert found["x"].dtype == array.dtype
    assert found["x"].shape == shape
    assert np.array_equal(found["x"], array)
    assert found["x"].flags.writeable
    if shape:
        assert np.array_equal(found["reversed"], array[..., ::-1].T)


def test_the_same_arrays_give_the_same_bytes(tmp_path: Path) -> None:
    arrays = {"b": np.ones(3, np.float32), "a": np.zeros(2)}
    entries = [write_arrays(LocalDirectory(tmp_path), name, arrays) for name in ("first", "second")]
    assert entries[0].sha256 == entries[1].sha256


def test_a_file_of_another_format_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\xff" * 64)
    with pytest.raises(DataError, match="a is not a safetensors file"):
        read_arrays(LocalDirectory(tmp_path), KnownFile.of("a", b"\xff" * 64))


@pytest.mark.parametrize("verb", [KnownFile.read, KnownFile.verify])
def test_size_and_hash_are_compared(tmp_path: Path, verb: Callable[..., object]) -> None:
    directory = LocalDirectory(tmp_path)
    directory.put("a", b"abc")
    assert verb(KnownFile.of("a", b"abc"), directory) in {b"abc", None}
    assert KnownFile.of("a", b"abc").is_in(directory)
    for file, message in {
        KnownFile.of("a", b"abcd"): "a is damaged: 3 bytes, expected 4",
        KnownFile(
            name="a", num_bytes=3, sha256="0" * 64
        ): "a is damaged: sha256 ba7816bf8f01…, expected 000000000000…",
        KnownFile.of("b", b""): "b is missing",
    }.items():
        with pytest.raises(DataError, match=message):
            verb(file, directory)
        assert not file.is_in(directory)
