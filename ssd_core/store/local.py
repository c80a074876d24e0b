"""Directories on the local disk, and atomic writes of files."""

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

from ssd_core.errors import SHORTAGES, TransientError, UsageError
from ssd_core.process import watchdog
from ssd_core.store.location import PARTIAL_PREFIX, Location, StoredObject, check_key

_REMOTE = {"s3", "gs", "http", "https"}
_HASH_BLOCK = 2**22
_UNUSABLE = {
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EEXIST,
    errno.ENAMETOOLONG,
    errno.ELOOP,
}
_LASTING = _UNUSABLE | {errno.ENOENT}
_WITHOUT_FSYNC = {errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS}
"""Errors of a file system that cannot flush a file or a directory, such as CIFS or FUSE."""


def write_file(path: Path, content: bytes | str) -> None:
    """Write a file atomically: a reader sees the old or the new content, even after a power cut."""
    with replace_file(path) as partial_path:
        partial_path.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def replace_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path that replaces `path` afterwards, or is removed on failure."""
    partial_path = make_partial_file(path)
    try:
        with explain_disk_errors(path):
            yield partial_path
            commit_file(partial_path, path)
    finally:
        partial_path.unlink(missing_ok=True)


def make_partial_file(path: Path) -> Path:
    """Create an empty file beside `path`, which `commit_file` later renames to `path`."""
    make_directory(path.parent)
    with explain_disk_errors(path):
        descriptor, name = tempfile.mkstemp(prefix=f"{PARTIAL_PREFIX}{path.name}-", dir=path.parent)
        os.close(descriptor)
    return Path(name)


def commit_file(partial_path: Path, path: Path) -> None:
    """Rename a complete file to its final name; the change survives a power cut."""
    _complete(partial_path)
    os.replace(partial_path, path)
    flush(path.parent)


def _complete(partial_path: Path) -> None:
    with suppress(PermissionError):  # FAT has no permissions
        os.chmod(partial_path, 0o644)
    flush(partial_path)


@contextmanager
def explain_disk_errors(path: Path, doing: Literal["read", "write"] = "write") -> Iterator[None]:
    """Translate errors of the disk under `path` into errors that name the remedy.

    Raises:
        FileNotFoundError: the file does not exist.
        UsageError: the path cannot be read or written.
        TransientError: the disk is full or failed, or a limit of this process was reached.
    """
    try:
        yield
    except (FileNotFoundError, BlockingIOError, ConnectionError):
        raise
    except OSError as error:
        if error.errno is None:  # from a library, about the content of a file
            raise
        reason = os.strerror(error.errno).lower()
        if error.errno in _UNUSABLE:
            raise UsageError(
                f"{path}: cannot {doing} there: {reason}; choose another path"
            ) from None
        shortage = SHORTAGES.get(error.errno, f"the disk failed: {reason}; check it")
        raise TransientError(f"{path}: {shortage} and repeat the command") from None


def raise_if_transient(error: OSError, path: Path) -> None:
    """Raise TransientError unless a second read of `path` would fail in the same way."""
    if error.errno not in _LASTING:
        with explain_disk_errors(path, "read"):
            raise error


def make_directory(directory: Path, mode: int = 0o777) -> None:
    """Create a directory and its parents if they do not exist.

    Raises:
        UsageError: it cannot be created there.
    """
    with explain_disk_errors(directory):
        try:
            directory.mkdir(mode=mode, parents=True, exist_ok=True)
        except FileNotFoundError:  # the error of /proc, where no directory can be created
            raise UsageError(
                f"{directory}: cannot write there: no directory can be created; choose another path"
            ) from None


def own_temporary_directory(name: str) -> Path:
    """Create a directory for all processes of this user, in the directory for temporary files.

    Raises:
        UsageError: the directory for temporary files is not writable, or another user owns ours.
    """
    try:
        directory = Path(tempfile.gettempdir()) / f"ssd-{name}-{os.getuid()}"
    except FileNotFoundError:
        raise UsageError(
            "no directory for temporary files is writable; set TMPDIR to one"
        ) from None
    make_directory(directory, mode=0o700)
    with explain_disk_errors(directory):
        if directory.stat().st_uid != os.getuid():
            raise UsageError(
                f"{directory} belongs to another user; set TMPDIR to another directory"
            )
    return directory


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    digest = hashlib.sha256()
    space = memoryview(bytearray(_HASH_BLOCK))
    with path.open("rb", buffering=0) as file:
        while size := file.readinto(space):
            digest.update(space[:size])
            watchdog.beat()
    return digest.hexdigest()


def flush(path: Path) -> None:
    """Wait until the content of a file or directory is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        flush_descriptor(descriptor)
    finally:
        os.close(descriptor)


def flush_descriptor(descriptor: int) -> None:
    """Wait until all writes are on the disk, where the file system can do that."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _WITHOUT_FSYNC:
            raise


def walk(root: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """Yield folder, subfolders and files as `os.walk` does, which skips what it cannot list.

    Raises:
        UsageError: a folder may not be listed.
        TransientError: the disk failed.
    """

    def refuse(error: OSError) -> None:
        # The root, or a folder that was removed since its parent was listed.
        if not isinstance(error, FileNotFoundError | NotADirectoryError):
            with explain_disk_errors(Path(error.filename), "read"):
                raise error

    for folder in os.walk(root, onerror=refuse):
        watchdog.beat()
        yield folder


def local_path(text: str, *, expected: str = "a path or file://") -> Path:
    """Return the path that a plain path or a `file://` URI names.

    Raises:
        UsageError: the text is empty, has another or a mistyped scheme, or names another machine.
    """
    if not text:
        raise UsageError(f"the path is empty; expected {expected}")
    scheme, is_uri, rest = text.partition("://")
    if not is_uri:
        _check_slashes(text)
        return Path(text)
    if scheme != "file":
        raise UsageError(f"'{scheme}://…' is not supported here; expected {expected}")
    host, _, path = rest.partition("/")
    if host not in {"", "localhost"} or not path:
        raise UsageError(f"'{text}' is not a path on this machine; expected file:///path")
    return Path("/", unquote(path))


def _check_slashes(path: str) -> None:
    scheme, _, rest = path.partition(":/")
    if rest and scheme in _REMOTE:
        raise UsageError(f"'{path}' lacks a slash; did you mean {scheme}://{rest}?")


class LocalDirectory(Location):
    """A directory on the local disk."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def uri(self) -> str:
        """Absolute path without symbolic links."""
        return str(self._path.resolve())

    @property
    def local(self) -> Path:
        """The path as it was given."""
        return self._path

    def __truediv__(self, name: str) -> "LocalDirectory":
        """Return the directory `name` below this one."""
        return LocalDirectory(self._path / name)

    def __str__(self) -> str:
        return str(self._path)

    def path(self, key: str) -> Path:
        """Return the path of `key`.

        Raises:
            UsageError: the key leaves the directory.
        """
        check_key(key, self)
        return self._path / key

    def put(self, key: str, content: bytes | Path) -> None:
        """Store bytes or a local file under `key`; replace an existing object."""
        with replace_file(self.path(key)) as partial_path:
            if isinstance(content, Path):
                shutil.copyfile(content, partial_path)
            else:
                partial_path.write_bytes(content)

    def put_if_absent(self, key: str, content: bytes) -> bool:
        """Store `content` unless `key` exists, and return whether it was stored."""
        path = self.path(key)
        partial_path = make_partial_file(path)
        try:
            with explain_disk_errors(path):
                partial_path.write_bytes(content)
                _complete(partial_path)
                is_named = _name_if_absent(partial_path, path)
                flush(path.parent)
        finally:
            partial_path.unlink(missing_ok=True)
        return is_named

    def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """Return the object, or at most `length` bytes of it from `start`."""
        path = self.path(key)
        with explain_disk_errors(path, "read"):
            if not path.is_file():  # a directory is not an object
                raise FileNotFoundError(str(path))
            with path.open("rb") as file:
                file.seek(start)
                return file.read(-1 if length is None else length)

    def head(self, key: str) -> StoredObject | None:
        """Return the listing entry of `key`, or None if it does not exist."""
        path = self.path(key)
        with explain_disk_errors(path, "read"):
            return _describe(key, path) if path.is_file() else None

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """Yield the objects whose key starts with `prefix`, sorted by key."""
        paths = (Path(folder, name) for folder, _, names in walk(self._path) for name in names)
        for key in sorted(path.relative_to(self._path).as_posix() for path in paths):
            path = self._path / key
            if key.startswith(prefix) and f"/{PARTIAL_PREFIX}" not in f"/{key}":
                with suppress(FileNotFoundError):  # removed since the walk
                    if path.is_file():
                        yield _describe(key, path)

    def delete(self, key: str) -> None:
        """Remove the object if it exists."""
        path = self.path(key)
        with explain_disk_errors(path):
            path.unlink(missing_ok=True)


def _name_if_absent(partial_path: Path, path: Path) -> bool:
    """Give a complete file its name unless that exists, and return whether it did."""
    with suppress(FileExistsError):
        try:
            os.link(partial_path, path)
        except FileExistsError:
            raise
        except OSError:
            # Without hard links (CIFS, FAT, FUSE) a reader may find the file empty for a moment.
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))
            os.replace(partial_path, path)
        return True
    return False


def _describe(key: str, path: Path) -> StoredObject:
    status = path.stat()
    return StoredObject(key, status.st_size, str(status.st_mtime_ns), status.st_mtime)
