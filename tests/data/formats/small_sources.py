"""Small data sets, in memory or written to a folder, and reading them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ssd_core.config import ConvertConfig
from ssd_core.data.findings import Findings
from ssd_core.data.formats import read_dataset
from ssd_core.data.formats.dataset import SourceDataset
from ssd_core.data.sources.base import SourceFile, is_inside
from ssd_core.data.sources.folder import FolderSource
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


def put(folder: Path, files: Mapping[str, str | bytes]) -> Path:
    """Write files by their name in the folder."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def read(folder: Path, **options: Any) -> tuple[SourceDataset, Findings]:
    config = ConvertConfig(**options)
    findings = Findings(config.policy)
    return read_dataset(FolderSource(folder), config, findings), findings
