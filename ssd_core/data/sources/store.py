"""A prefix of an object store as a source."""

from collections.abc import Generator, Mapping, Sequence
from typing import Any

from ssd_core.data.ahead import map_ahead
from ssd_core.data.sources.base import SourceFile, is_inside, look_up
from ssd_core.errors import DataError, UsageError
from ssd_core.logs import logger
from ssd_core.store.location import Location

_THREADS = 16
_DEPTH = 32
"""Objects prefetched and not yet requested; an image has some hundred kilobytes."""


class StoreSource:
    """Objects below a URI such as `s3://bucket/prefix`, listed once and prefetched on threads."""

    def __init__(self, place: Location) -> None:
        self.uri = place.uri
        self._place = place
        self.files: Mapping[str, SourceFile]
        self.unusable: Mapping[str, str]
        self.files, self.unusable = _list(place)
        if not self.files:
            raise UsageError(f"{place}: holds no objects; expected a data set")
        logger.info("%s: %d objects", place, len(self.files))
        self._expected: list[str] = []
        self._ahead: Generator[bytes | DataError, None, None] | None = None

    def expect(self, names: Sequence[str]) -> None:
        """Prefetch these files, which have to be read in this order."""
        self._forget()
        self._expected = [name for name in reversed(names) if name in self.files]
        self._ahead = map_ahead(
            self._fetch, self._expected[::-1], num_threads=_THREADS, depth=_DEPTH
        )

    def read(self, name: str) -> bytes:
        """Return the content of a file."""
        look_up(self, name)
        if self._ahead is None or not self._expected or self._expected[-1] != name:
            return _or_raise(self._fetch(name))
        self._expected.pop()
        content = next(self._ahead)
        if not self._expected:
            self._forget()
        return _or_raise(content)

    def read_part(self, name: str, start: int, size: int) -> bytes:
        """Return `size` bytes of a file from `start`, fewer only at its end."""
        look_up(self, name)
        return _or_raise(self._fetch(name, start, size))

    def read_into(self, name: str, space: memoryview) -> int:
        """Fill `space` with the beginning of a file and return the number of bytes read."""
        content = self.read(name)[: len(space)]
        space[: len(content)] = content
        return len(content)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the threads behind when this travels to another process."""
        return {**self.__dict__, "_expected": [], "_ahead": None}

    def _forget(self) -> None:
        if self._ahead is not None:
            self._ahead.close()
        self._ahead, self._expected = None, []

    def _fetch(self, name: str, start: int = 0, length: int | None = None) -> bytes | DataError:
        """Return content, or the error: raised on a thread it would end the prefetching."""
        try:
            return self._place.get(name, start, length)
        except FileNotFoundError:
            return DataError(f"{name}: no longer exists in {self.uri}")
        except DataError as error:
            return error


def _or_raise(content: bytes | DataError) -> bytes:
    if isinstance(content, DataError):
        raise content
    return content


def _list(place: Location) -> tuple[dict[str, SourceFile], dict[str, str]]:
    files, unusable = {}, {}
    for item in place.list():
        if any(part.startswith(".") and part not in {".", ".."} for part in item.key.split("/")):
            continue
        if is_inside(item.key) and "//" not in f"/{item.key}":
            files[item.key] = SourceFile(item.num_bytes, item.version)
        else:
            unusable[item.key] = "has a name that no folder could have"
    return files, unusable
