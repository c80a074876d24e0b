"""Bring MindRecord files to the place of a data set: linked from a folder, fetched from a store."""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ssd_core.data.sources.base import Source
from ssd_core.data.sources.folder import FolderSource
from ssd_core.logs import logger
from ssd_core.store.base import PARTIAL_PREFIX
from ssd_core.store.local import explain_disk_errors, make_directory, replace_file

_PIECE_BYTES = 2**25


@contextmanager
def folder_with(source: Source, names: Sequence[str], out_dir: Path) -> Iterator[Path]:
    """Give a folder that holds files of the source; those of a store are there only meanwhile.

    Raises:
        DataError: an object is gone.
        SurroundingsError: the store is away, or the disk is full.
    """
    if isinstance(source, FolderSource):
        yield Path(source.uri)
        return
    copies_dir = out_dir / f"{PARTIAL_PREFIX}source"
    try:
        for name in names:
            logger.info("fetching %s", name)
            _fetch(source, name, copies_dir / name)
        yield copies_dir
    finally:
        shutil.rmtree(copies_dir, ignore_errors=True)


def _fetch(source: Source, name: str, path: Path) -> None:
    with replace_file(path) as partial_path, partial_path.open("wb") as file:
        for start in range(0, source.files[name].num_bytes, _PIECE_BYTES):
            file.write(source.read_part(name, start, _PIECE_BYTES))


def take_file(path: Path, new_path: Path) -> None:
    """Link a file, or copy it to another disk; nothing is done where it is the same file."""
    with explain_disk_errors(new_path):
        if new_path.exists() and new_path.samefile(path):
            return
        make_directory(new_path.parent)
        link_path = new_path.with_name(f"{PARTIAL_PREFIX}{new_path.name}")
        link_path.unlink(missing_ok=True)
        try:
            os.link(path, link_path)
            os.replace(link_path, new_path)
        except OSError:
            with replace_file(new_path) as partial_path:
                shutil.copyfile(path, partial_path)
