"""Remote objects on the local disk: verified, bounded, shared by the processes of a node.

A file is named by the SHA-256 of its content, so data sets share it and it never goes stale. It
appears whole or not at all; what a killed process leaves behind is removed by the next one.
"""

import fcntl
import hashlib
import json
import os
import shutil
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from ssd_core.errors import SsdError, UsageError
from ssd_core.logs import logger
from ssd_core.store.known_file import KnownFile
from ssd_core.store.local import (
    explain_disk_errors,
    file_sha256,
    make_directory,
    own_temporary_directory,
)
from ssd_core.store.location import PARTIAL_PREFIX, Location

_LOCK_PREFIX, _NAMES_PREFIX = ".lock-", ".names-"
_SHARE_OF_DISK = 0.5
"""Of the space that is free, or taken by the cache itself, where no size is given."""


class Cache:
    """A folder of verified copies; any number of threads and processes may share it."""

    def __init__(self, directory: Path, max_bytes: int, *, keep_seconds: float = 60.0) -> None:
        """Use `directory`, which is made when it is needed.

        Args:
            directory: a local folder that nothing else uses.
            max_bytes: limit for all files together; the least recently fetched go first.
            keep_seconds: a file stays at least so long after a `fetch`, even beyond the limit, so
                that its reader finds it. Once open it may go: an open file keeps its content.
        """
        self.directory = directory
        self.max_bytes = max_bytes
        self._keep_seconds = keep_seconds
        self._verified: set[tuple[str, int]] = set()
        """Hash and inode of the files whose content this process has compared."""
        self._wanted: deque[tuple[Location, KnownFile]] = deque()
        self._wanted_lock = threading.Lock()
        self._is_fetching = False

    def fetch(self, directory: Location, file: KnownFile) -> Path:
        """Return a local file with the content of an object; open it at once.

        An object of a local store is its own file, and is not verified here. Everything else is
        compared with its hash when it comes, and again when this process first meets it.

        Raises:
            DataError: the object is missing, or has another content.
            SurroundingsError: the store is away, or the disk is full.
            UsageError: the object is larger than the whole cache.
        """
        if directory.local is not None:
            return directory.local / file.name
        if file.num_bytes > self.max_bytes:
            raise UsageError(
                f"{file.name} has {file.num_bytes} bytes, the cache in {self.directory} only "
                f"{self.max_bytes}; set SSD_CACHE_BYTES"
            )
        path = self.directory / file.sha256
        with explain_disk_errors(path), self._lock(_object_lock(file.sha256)):
            if not self._touch(file):
                self._download(directory, file)
        return path

    def prefetch(self, directory: Location, files: Iterable[KnownFile]) -> None:
        """Fetch `files` in the background, after those asked for before; errors wait for `fetch`.

        The caller bounds how far it looks ahead: together with what is in use it must fit.
        """
        if directory.local is not None:
            return
        with self._wanted_lock:
            self._wanted.extend((directory, file) for file in files)
            if not self._is_fetching:
                self._is_fetching = True
                threading.Thread(target=self._fetch_wanted, name="prefetch", daemon=True).start()

    def name_files(self, paths: Mapping[str, Path]) -> Path:
        """Return a folder in which fetched files bear names, for who cannot do without them.

        They are links, so that a file that is fetched again after its removal is there again; the
        folder of the same names and files is always the same, and takes no space.

        Raises:
            UsageError: the folder cannot be made.
            SurroundingsError: the disk is full.
        """
        content = sorted((name, path.name) for name, path in paths.items())
        digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()
        folder = self.directory / f"{_NAMES_PREFIX}{digest[:32]}"
        for name, path in paths.items():
            link = folder / name
            make_directory(link.parent)
            with explain_disk_errors(link), suppress(FileExistsError):
                link.symlink_to(os.path.relpath(path, link.parent))
        return folder

    def _fetch_wanted(self) -> None:
        while True:
            with self._wanted_lock:
                self._is_fetching = bool(self._wanted)
                if not self._is_fetching:
                    return
                directory, file = self._wanted.popleft()
            try:
                self.fetch(directory, file)
            except (SsdError, OSError) as error:
                logger.debug("not fetched ahead: %s", error)

    def _touch(self, file: KnownFile) -> bool:
        """Say whether the file is there and right; then it is the most recent one."""
        path = self.directory / file.sha256
        with self._lock("files"):
            try:
                status = path.stat()
                os.utime(path)
            except FileNotFoundError:
                return False
        if (file.sha256, status.st_ino) in self._verified:
            return True
        try:
            is_right = status.st_size == file.num_bytes and file_sha256(path) == file.sha256
        except FileNotFoundError:  # another process needed the room
            return False
        if is_right:
            self._verified.add((file.sha256, status.st_ino))
            return True
        logger.warning("%s is damaged; fetching it again", path)
        path.unlink(missing_ok=True)
        return False

    def _download(self, directory: Location, file: KnownFile) -> None:
        path = self.directory / file.sha256
        partial_path = self.directory / f"{PARTIAL_PREFIX}{file.sha256}"
        try:
            with self._lock("files"):
                partial_path.unlink(missing_ok=True)
                self._make_room(file.num_bytes)
                partial_path.touch(mode=0o600)
                os.truncate(partial_path, file.num_bytes)  # so that others count it already
            file.copy_to(directory, partial_path)
            self._verified.add((file.sha256, partial_path.stat().st_ino))
            with self._lock("files"):
                os.replace(partial_path, path)
        finally:
            partial_path.unlink(missing_ok=True)

    def _make_room(self, num_bytes: int) -> None:
        """Remove the files least recently fetched, until `num_bytes` more are within the limit."""
        now = time.time()
        files = _list_files(self.directory)
        excess = sum(size for _, size, _ in files) + num_bytes - self.max_bytes
        for changed, size, path in files:
            if path.name.startswith(PARTIAL_PREFIX):
                removable = self._is_abandoned(path)
            else:
                removable = excess > 0 and not 0 <= now - changed < self._keep_seconds
            if removable:
                path.unlink(missing_ok=True)
                excess -= size

    def _is_abandoned(self, partial_path: Path) -> bool:
        """Say whether the process that wrote a partial file is gone, and with it its lock."""
        sha256 = partial_path.name.removeprefix(PARTIAL_PREFIX)
        try:
            with self._lock(_object_lock(sha256), fcntl.LOCK_EX | fcntl.LOCK_NB):
                return True
        except BlockingIOError:
            return False

    @contextmanager
    def _lock(self, name: str, mode: int = fcntl.LOCK_EX) -> Iterator[None]:
        """Keep other threads and processes out; the system opens the lock of one that is killed."""
        make_directory(self.directory, mode=0o700)
        descriptor = os.open(
            self.directory / f"{_LOCK_PREFIX}{name}", os.O_RDWR | os.O_CREAT, 0o600
        )
        try:
            fcntl.flock(descriptor, mode)
            yield
        finally:
            os.close(descriptor)


def open_cache() -> Cache:
    """Return the cache of this machine and user.

    It lies in SSD_CACHE_DIR, else in the folder for temporary files, and takes SSD_CACHE_BYTES,
    else half of the space that is free there.

    Raises:
        UsageError: a size that is no number, or a folder that cannot be used.
    """
    chosen = os.environ.get("SSD_CACHE_DIR")
    directory = Path(chosen) if chosen else own_temporary_directory("cache")
    make_directory(directory, mode=0o700)
    with explain_disk_errors(directory):
        size = os.environ.get("SSD_CACHE_BYTES") or str(_usable_bytes(directory))
    if not size.isdecimal():
        raise UsageError(f"SSD_CACHE_BYTES is '{size}'; expected a number of bytes")
    return Cache(directory, int(size))


def _usable_bytes(directory: Path) -> int:
    taken = sum(size for _, size, _ in _list_files(directory))
    return int((shutil.disk_usage(directory).free + taken) * _SHARE_OF_DISK)


def _object_lock(sha256: str) -> str:
    """Return the name of the lock of an object: few names, so that their files need no removal."""
    return f"object-{sha256[:2]}"


def _list_files(directory: Path) -> list[tuple[float, int, Path]]:
    """Return time of last use, size and path of the files, whole or partial, the oldest first."""
    files = []
    for entry in os.scandir(directory):
        with suppress(FileNotFoundError):  # a download that just failed or was finished
            if not entry.name.startswith((_LOCK_PREFIX, _NAMES_PREFIX)):
                files.append((entry.stat().st_mtime, entry.stat().st_size, Path(entry.path)))
    return sorted(files)
