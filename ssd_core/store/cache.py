"""A cache of remote objects: verified, bounded, shared by all processes of a node.

A file is named by the SHA-256 of its content, so data sets share it and it is never stale. Its
name appears only when it is complete; partial files of killed processes are removed later.
"""

import fcntl
import os
import shutil
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from ssd_core.errors import SsdError, UsageError
from ssd_core.logs import logger
from ssd_core.store.known_file import KnownFile, digest_json
from ssd_core.store.local import (
    explain_disk_errors,
    file_sha256,
    make_directory,
    own_temporary_directory,
)
from ssd_core.store.location import PARTIAL_PREFIX, Location

_LOCK_PREFIX, _NAMES_PREFIX = ".lock-", ".names-"
_SHARE_OF_DISK = 0.5
"""Default limit as a fraction of the free space plus the space that the cache already uses."""


class Cache:
    """A directory of verified copies; any number of threads and processes may share it."""

    def __init__(self, directory: Path, max_bytes: int) -> None:
        """Use `directory`, which is created on the first fetch.

        Args:
            directory: a local directory for this cache alone.
            max_bytes: limit for all files together; the least recently fetched are removed first.
        """
        self.directory = directory
        self.max_bytes = max_bytes
        self._verified: set[tuple[str, int]] = set()
        """Hash and inode of the files that this process has verified."""
        self._wanted: deque[tuple[Location, KnownFile]] = deque()
        self._wanted_lock = threading.Lock()
        self._is_fetching = False

    @contextmanager
    def fetch(self, directory: Location, file: KnownFile) -> Iterator[Path]:
        """Yield a local file with the content of an object.

        No process removes it before the end of the block, even beyond the limit; an open or mapped
        file keeps its content for longer. A file of a local directory is yielded as it is, without
        verification. A copy is verified after its download, and when this process first uses it.

        Raises:
            DataError: the object is missing, or has another content.
            UsageError: the object is larger than the whole cache.
        """
        if directory.local is not None:
            yield directory.local / file.name
            return
        if file.num_bytes > self.max_bytes:
            raise UsageError(
                f"{file.name} has {file.num_bytes} bytes, but the limit of the cache in "
                f"{self.directory} is {self.max_bytes}; set SSD_CACHE_BYTES"
            )
        path = self.directory / file.sha256
        with ExitStack() as held:
            with explain_disk_errors(path), self._lock(_object_lock(file.sha256)):
                found = self._find(path)
                if found is None or not self._is_correct(held.enter_context(found), path, file):
                    held.enter_context(self._download(directory, file, path))
            yield path

    def prefetch(self, directory: Location, files: Iterable[KnownFile]) -> None:
        """Fetch `files` in the background, after earlier calls; `fetch` raises the errors.

        The caller limits the number of files: together with the files in use they must fit.
        """
        if directory.local is not None:
            return
        with self._wanted_lock:
            self._wanted.extend((directory, file) for file in files)
            if not self._is_fetching:
                self._is_fetching = True
                threading.Thread(target=self._fetch_wanted, name="prefetch", daemon=True).start()

    def name_files(self, paths: Mapping[str, Path]) -> Path:
        """Return a directory with named links to fetched files, for libraries that need names.

        A link works again after its file was removed and fetched again. The same names and files
        always give the same directory.
        """
        content = sorted((name, path.name) for name, path in paths.items())
        folder = self.directory / f"{_NAMES_PREFIX}{digest_json(content)[:32]}"
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
                with self.fetch(directory, file):
                    pass
            except (SsdError, OSError) as error:
                logger.debug("prefetch failed: %s", error)

    def _find(self, path: Path) -> BinaryIO | None:
        """Hold a file of the cache and mark it as recently used, if it exists."""
        with self._lock("files"), suppress(FileNotFoundError):
            found = _hold(path)
            os.utime(path)
            return found
        return None

    def _is_correct(self, found: BinaryIO, path: Path, file: KnownFile) -> bool:
        """Return whether a file is as expected; remove it if not."""
        status = os.fstat(found.fileno())
        identity = (file.sha256, status.st_ino)
        if identity not in self._verified:
            if status.st_size != file.num_bytes or file_sha256(path) != file.sha256:
                logger.warning("%s is damaged; fetching it again", path)
                with self._lock("files"):
                    path.unlink(missing_ok=True)
                return False
            self._verified.add(identity)
        return True

    def _download(self, directory: Location, file: KnownFile, path: Path) -> BinaryIO:
        partial_path = self.directory / f"{PARTIAL_PREFIX}{file.sha256}"
        try:
            with self._lock("files"):
                partial_path.unlink(missing_ok=True)
                self._make_space(file.num_bytes)
                partial_path.touch(mode=0o600)
                os.truncate(partial_path, file.num_bytes)  # other processes count it from now on
            file.copy_to(directory, partial_path)
            self._verified.add((file.sha256, partial_path.stat().st_ino))
            with self._lock("files"):
                os.replace(partial_path, path)
                return _hold(path)
        finally:
            partial_path.unlink(missing_ok=True)

    def _make_space(self, num_bytes: int) -> None:
        """Remove the least recently fetched files until `num_bytes` more are within the limit."""
        files = _list_files(self.directory)
        excess = sum(size for _, size, _ in files) + num_bytes - self.max_bytes
        for _, size, path in files:
            if path.name.startswith(PARTIAL_PREFIX):
                removable = self._is_abandoned(path)
            else:
                removable = excess > 0 and not _is_held(path)
            if removable:
                path.unlink(missing_ok=True)
                excess -= size

    def _is_abandoned(self, partial_path: Path) -> bool:
        """Return whether the writer of a partial file has ended, which released its lock."""
        sha256 = partial_path.name.removeprefix(PARTIAL_PREFIX)
        try:
            with self._lock(_object_lock(sha256), fcntl.LOCK_EX | fcntl.LOCK_NB):
                return True
        except BlockingIOError:
            return False

    @contextmanager
    def _lock(self, name: str, mode: int = fcntl.LOCK_EX) -> Iterator[None]:
        """Exclude other threads and processes; the system releases the lock of a killed process."""
        make_directory(self.directory, mode=0o700)
        descriptor = os.open(
            self.directory / f"{_LOCK_PREFIX}{name}", os.O_RDWR | os.O_CREAT, 0o600
        )
        try:
            _lock_file(descriptor, mode, self.directory)
            yield
        finally:
            os.close(descriptor)


def open_cache() -> Cache:
    """Return the cache of this machine and user, as SSD_CACHE_DIR and SSD_CACHE_BYTES define it.

    The defaults are a directory for temporary files, and half of the space that is free there.

    Raises:
        UsageError: SSD_CACHE_BYTES is not a number.
    """
    chosen = os.environ.get("SSD_CACHE_DIR")
    directory = Path(chosen) if chosen else own_temporary_directory("cache")
    make_directory(directory, mode=0o700)
    with explain_disk_errors(directory):
        used = sum(size for _, size, _ in _list_files(directory))
        default = int((shutil.disk_usage(directory).free + used) * _SHARE_OF_DISK)
    size = os.environ.get("SSD_CACHE_BYTES") or str(default)
    if not size.isdecimal():
        raise UsageError(f"SSD_CACHE_BYTES is '{size}'; expected a number of bytes")
    return Cache(directory, int(size))


def _lock_file(descriptor: int, mode: int, directory: Path) -> None:
    try:
        fcntl.flock(descriptor, mode)
    except BlockingIOError:
        raise
    except OSError as error:
        raise UsageError(
            f"{directory}: its file system has no locks ({error.strerror}); set SSD_CACHE_DIR to a "
            "local disk"
        ) from None


def _hold(path: Path) -> BinaryIO:
    """Open a file; no process removes it until it is closed, also by the end of this process."""
    file = path.open("rb")
    fcntl.flock(file, fcntl.LOCK_SH)
    return file


def _is_held(path: Path) -> bool:
    """Return whether a process holds the file; the caller has the lock that `_hold` needs."""
    with path.open("r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _object_lock(sha256: str) -> str:
    """Return the name of the lock of an object; 256 names, so that the files can stay."""
    return f"object-{sha256[:2]}"


def _list_files(directory: Path) -> list[tuple[float, int, Path]]:
    """Return time of last use, size and path of all files and partial files, oldest first."""
    files = []
    for entry in os.scandir(directory):
        with suppress(FileNotFoundError):  # a download that has just ended
            if not entry.name.startswith((_LOCK_PREFIX, _NAMES_PREFIX)):
                files.append((entry.stat().st_mtime, entry.stat().st_size, Path(entry.path)))
    return sorted(files)
