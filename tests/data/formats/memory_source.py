"""A source whose files are in memory."""

from collections.abc import Mapping, Sequence

from ssd_core.data.sources.base import SourceFile, is_inside
from ssd_core.errors import DataError


class MemorySource:
    """Files in memory."""

    uri = "memory"

    def __init__(self, contents: Mapping[str, bytes]) -> None:
        self._contents = contents
        self.unusable: Mapping[str, str] = {}
        self.files = {name: SourceFile(len(c), "0") for name, c in sorted(contents.items())}

    def expect(self, names: Sequence[str]) -> None:
        pass

    def read(self, name: str) -> bytes:
        if not is_inside(name) or name not in self._contents:
            raise DataError(f"{name}: does not exist")
        return self._contents[name]

    def read_part(self, name: str, start: int, size: int) -> bytes:
        return self.read(name)[start : start + size]

    def read_into(self, name: str, space: memoryview) -> int:
        content = self.read(name)[: len(space)]
        space[: len(content)] = content
        return len(content)
