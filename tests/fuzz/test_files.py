"""Files that other programs may have written or damaged: an answer, or an error in one line."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given

from tests.fuzz.files import FILES, JSON_FILES, Target, write_files
from tests.fuzz.mutations import (
    CHANGES,
    EDITS,
    Changes,
    Edits,
    change_bytes,
    change_json,
    examples,
    only_our_errors,
)

Read = Callable[[Target, bytes], None]
FOUND = [
    ("speed", b'"warm_up"', b'"other"'),
    ("speed", b'"is_stable"', b'"other"'),
    ("evaluation", b'"cells"', b'"\\ud800"'),
    ("header", b'[{"schema": {', b'[{"schema": null, "other": {'),
]
"""What the tests below have found: a file, a part of it, and what replaced that."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, few_images: Path) -> Path:
    """Return a folder with one file of every kind."""
    folder = tmp_path_factory.mktemp("files")
    write_files(folder, few_images)
    return folder


@pytest.fixture(scope="module")
def read(folder: Path) -> Read:
    """Return a function that reads a file with another content; all files are restored."""
    originals = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    def read(target: Target, content: bytes) -> None:
        (folder / target.file).write_bytes(content)
        try:
            target.seal(folder)
            target.read(folder)
        finally:
            for path, original in originals.items():
                if not path.exists() or path.read_bytes() != original:
                    path.write_bytes(original)

    return read


@pytest.mark.parametrize("name", FILES)
def test_unchanged_files_are_read(name: str, folder: Path, read: Read) -> None:
    read(FILES[name], (folder / FILES[name].file).read_bytes())


@pytest.mark.parametrize(("name", "part", "other"), FOUND)
def test_found_changes(name: str, part: bytes, other: bytes, folder: Path, read: Read) -> None:
    content = (folder / FILES[name].file).read_bytes()
    assert part in content
    with only_our_errors():
        read(FILES[name], content.replace(part, other))


@pytest.mark.parametrize("name", FILES)
@examples(20)
@given(edits=EDITS)
def test_changed_bytes(name: str, folder: Path, read: Read, edits: Edits) -> None:
    content = change_bytes((folder / FILES[name].file).read_bytes(), edits)
    with only_our_errors():
        read(FILES[name], content)


@pytest.mark.parametrize("name", JSON_FILES)
@examples(20)
@given(changes=CHANGES)
def test_changed_values(name: str, folder: Path, read: Read, changes: Changes) -> None:
    content = change_json((folder / FILES[name].file).read_bytes(), changes)
    with only_our_errors():
        read(FILES[name], content)
