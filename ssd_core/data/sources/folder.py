"""A local folder as a source."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from ssd_core.data.sources.base import SourceFile, look_up
from ssd_core.errors import DataError, UsageError
from ssd_core.process import watchdog
from ssd_core.store.local import raise_if_transient


class FolderSource:
    """A local folder, listed once. Links that leave it are not followed."""

    def __init__(self, root: Path) -> None:
        if not os.path.exists(root):
            raise UsageError(f"{root}: does not exist; expected a folder with a data set")
        if not root.is_dir():
            raise UsageError(f"{root}: is not a folder; expected a folder with a data set")
        self.uri = str(root)
        self._root = os.path.realpath(root)
        self.files: Mapping[str, SourceFile]
        self.unusable: Mapping[str, str]
        self.files, self.unusable = self._list()

    def _list(self) -> tuple[dict[str, SourceFile], dict[str, str]]:
        files: dict[str, SourceFile] = {}
        unusable: dict[str, str] = {}
        folders = [""]
        while folders:
            prefix = folders.pop()
            watchdog.beat()
            try:
                with os.scandir(os.path.join(self._root, prefix)) as entries:
                    for entry in entries:
                        name = f"{prefix}{entry.name}"
                        if entry.name.startswith("."):
                            continue
                        reason = self._reason_against(entry)
                        if reason:
                            unusable[name] = reason
                        elif entry.is_dir():
                            folders.append(f"{name}/")
                        elif entry.is_file():
                            status = entry.stat()
                            files[name] = SourceFile(status.st_size, str(status.st_mtime_ns))
            except OSError as error:
                raise_if_transient(error, Path(self._root, prefix))
                unusable[prefix] = f"cannot be listed: {error.strerror}"
        return dict(sorted(files.items())), dict(sorted(unusable.items()))

    def _reason_against(self, entry: "os.DirEntry[str]") -> str:
        """Return why an entry cannot be used, "" if it can."""
        try:
            entry.name.encode()
        except UnicodeEncodeError:  # Python's stand-ins for other bytes cannot be written
            return "has a name that is not UTF-8"
        if entry.is_symlink() and not self._is_own_file(entry):
            return "is a link to a folder or out of the source, which is not followed"
        return ""

    def _is_own_file(self, link: "os.DirEntry[str]") -> bool:
        target = os.path.realpath(link.path)
        return target.startswith(f"{self._root}{os.sep}") and os.path.isfile(target)

    def expect(self, names: Sequence[str]) -> None:
        """Do nothing: a local folder needs no prefetching."""

    def read(self, name: str) -> bytes:
        """Return the content of a file."""
        block = look_up(self, name).num_bytes + 1  # in one read, and never twice in memory
        with self._open(name) as descriptor:
            return b"".join(iter(lambda: os.read(descriptor, block), b""))

    def read_part(self, name: str, start: int, size: int) -> bytes:
        """Return `size` bytes of a file from `start`, fewer only at its end."""
        with self._open(name) as descriptor:
            return os.pread(descriptor, size, start)

    def read_into(self, name: str, space: memoryview) -> int:
        """Fill `space` with the beginning of a file and return the number of bytes read."""
        size, expected = 0, look_up(self, name).num_bytes
        with self._open(name) as descriptor:
            while size < len(space):
                count = os.readv(descriptor, [space[size:]])
                size += count
                if not count or size == expected:  # the end, because more was requested
                    break
        return size

    @contextmanager
    def _open(self, name: str) -> Iterator[int]:
        look_up(self, name)
        try:
            descriptor = os.open(f"{self._root}/{name}", os.O_RDONLY)
            try:
                yield descriptor
                watchdog.beat()
            finally:
                os.close(descriptor)
        except OSError as error:
            raise_if_transient(error, Path(self._root, name))
            raise DataError(f"{name}: cannot be read: {error.strerror}") from None
