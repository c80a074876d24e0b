"""The folder as a source: what it lists, and what it refuses to read."""

import os
from pathlib import Path

import pytest

from ssd_core.data.sources import open_source
from ssd_core.data.sources.base import is_inside, read_head
from ssd_core.data.sources.folder import FolderSource
from ssd_core.errors import DataError, UsageError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (root / "b.txt").write_bytes(b"bee")
    (root / "sub" / "a.txt").write_bytes(b"ay")
    (root / ".hidden").write_bytes(b"no")
    (tmp_path / "secret.txt").write_bytes(b"secret")
    return root


def test_lists_files_by_relative_name_sorted(folder: Path) -> None:
    files = FolderSource(folder).files
    assert list(files) == ["b.txt", "sub/a.txt"]
    assert files["b.txt"].num_bytes == 3
    assert files["b.txt"].version == str((folder / "b.txt").stat().st_mtime_ns)


def test_reads_whole_files_and_heads(folder: Path) -> None:
    source = FolderSource(folder)
    assert source.read("sub/a.txt") == b"ay"
    assert read_head(source, "b.txt") == "bee"
    assert read_head(source, "c.txt") == ""
    space = bytearray(5)
    assert source.read_into("b.txt", memoryview(space)) == 3
    assert bytes(space) == b"bee\0\0"


@pytest.mark.parametrize(
    "name", ["../secret.txt", "/etc/passwd", "sub/../../secret.txt", "sub\\a.txt", "a\0b", ""]
)
def test_names_that_leave_the_root_are_refused(folder: Path, name: str) -> None:
    assert not is_inside(name)
    with pytest.raises(DataError, match="leaves the source"):
        FolderSource(folder).read(name)


def test_links_that_leave_the_root_are_not_followed(folder: Path) -> None:
    (folder / "out.txt").symlink_to(folder.parent / "secret.txt")
    (folder / "loop").symlink_to(folder)
    (folder / "around").symlink_to("around")
    (folder / "inside.txt").symlink_to("b.txt")
    source = FolderSource(folder)
    assert list(source.files) == ["b.txt", "inside.txt", "sub/a.txt"]
    assert list(source.unusable) == ["around", "loop", "out.txt"]
    assert all("is a link" in reason for reason in source.unusable.values())
    with pytest.raises(DataError, match="out.txt: does not exist in"):
        source.read("out.txt")


def test_a_removed_file_is_an_error_and_a_pipe_is_ignored(folder: Path) -> None:
    source = FolderSource(folder)
    assert source.files
    (folder / "b.txt").unlink()
    with pytest.raises(DataError, match="b.txt: cannot be read: No such file"):
        source.read("b.txt")
    os.mkfifo(folder / "pipe")
    assert "pipe" not in FolderSource(folder).files


def test_open_source_errors(folder: Path) -> None:
    assert open_source(folder.as_uri()).read("b.txt") == b"bee"
    with pytest.raises(UsageError, match="nowhere: does not exist"):
        open_source(str(folder / "nowhere"))
    with pytest.raises(UsageError, match="is not a folder"):
        open_source(str(folder / "b.txt"))
    with pytest.raises(UsageError, match="expected a path, file:// or s3://"):
        open_source("s4://bucket")


def test_names_that_are_not_utf8_are_unusable(folder: Path) -> None:
    (Path(os.fsdecode(os.fsencode(folder) + b"/\xff.jpg"))).write_bytes(b"x")
    source = FolderSource(folder)
    assert list(source.files) == ["b.txt", "sub/a.txt"]
    assert list(source.unusable.values()) == ["has a name that is not UTF-8"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list every folder")
def test_folders_that_cannot_be_listed_are_unusable(folder: Path) -> None:
    (folder / "sub").chmod(0)
    source = FolderSource(folder)
    assert list(source.files) == ["b.txt"]
    assert source.unusable == {"sub/": "cannot be listed: Permission denied"}
    (folder / "sub").chmod(0o755)
