"""Files of a data set's directory that its manifest does not own: the remains of killed runs."""

import shutil
from contextlib import suppress
from pathlib import Path

from ssd_core.data.shards.journal import JOURNAL_FILE, journalled_shards
from ssd_core.data.shards.manifest import Manifest
from ssd_core.store.base import PARTIAL_PREFIX
from ssd_core.store.local import explain_disk_errors

_PATTERNS = ("train-?????.arrow", "val-?????.arrow", JOURNAL_FILE, f"{PARTIAL_PREFIX}*")


def find_strays(data_dir: Path, manifest: Manifest | None) -> list[Path]:
    """Return journal, half-written files and shards that `manifest` does not name, sorted.

    Nothing else is meant: a directory may hold files of other programs. No manifest owns nothing.
    """
    paths = {path for pattern in _PATTERNS for path in data_dir.glob(pattern)}
    paths |= {data_dir / name for name in journalled_shards(data_dir)}
    if manifest is not None:
        paths -= {data_dir / shard.name for shard in manifest.shards()}
    return sorted(path for path in paths if path.exists())


def remove(path: Path) -> None:
    """Remove a file or a folder; no error where another was faster."""
    with explain_disk_errors(path), suppress(FileNotFoundError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
