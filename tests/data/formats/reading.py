"""Writing and reading small data sets in a folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ssd_core.config import ConvertConfig
from ssd_core.data.findings import Findings
from ssd_core.data.formats import read_dataset
from ssd_core.data.formats.dataset import SourceDataset
from ssd_core.data.sources.folder import FolderSource


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
