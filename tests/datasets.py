"""Conversions into local folders, and the content of such folders."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ssd_core.config import ConvertConfig, parse_section
from ssd_core.data.shards.manifest import Manifest, read_manifest
from ssd_core.data.shards.reader import SplitReader, open_split
from ssd_core.stages import convert
from ssd_core.store import LocalDirectory
from ssd_core.structures import StageResult


def convert_into(
    out_dir: Path, config: Mapping[str, Any], source: Path, workers: int = 1
) -> StageResult:
    section = parse_section(ConvertConfig, config, "convert")
    return convert.run(section, str(source), LocalDirectory(out_dir), workers=workers)


def manifest_of(data_dir: Path) -> Manifest:
    return read_manifest(LocalDirectory(data_dir))


def split_of(data_dir: Path, split: str) -> SplitReader:
    return open_split(LocalDirectory(data_dir), split)


def file_hashes(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file in a folder by name, sorted."""
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}
