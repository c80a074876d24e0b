"""Conversions into local folders, and the content of such folders and their sources."""

import hashlib
import json
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ssd_core.config import ConvertConfig, parse_section
from ssd_core.data.conversion.journal import Share
from ssd_core.data.shards.manifest import (
    CONVERTER_VERSION,
    Manifest,
    read_manifest,
)
from ssd_core.data.shards.reader import SplitReader, open_split
from ssd_core.stages import convert, convert_share
from ssd_core.store import LocalDirectory
from ssd_core.store.layout import MANIFEST_FILE
from ssd_core.structures import StageResult

SSD = Path(sys.executable).with_name("ssd")


def convert_into(
    out_dir: Path,
    config: Mapping[str, Any],
    source: Path,
    workers: int = 1,
    share: Share | None = None,
) -> StageResult:
    section = parse_section(ConvertConfig, config, "convert")
    place = LocalDirectory(out_dir)
    if share is not None:
        return convert_share.run(section, str(source), place, share)
    return convert.run(section, str(source), place, workers=workers)


def run_convert(
    *words: str | Path, preexec_fn: Callable[[], None] | None = None
) -> subprocess.CompletedProcess[str]:
    command = [SSD, "convert", *words]
    return subprocess.run(command, capture_output=True, text=True, preexec_fn=preexec_fn)  # noqa: PLW1509


def manifest_of(data_dir: Path) -> Manifest:
    return read_manifest(LocalDirectory(data_dir))


def change_manifest(data_dir: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the content of a manifest and its digest, as another converter would write them."""
    path = data_dir / MANIFEST_FILE
    content = json.loads(path.read_text())
    change(content)
    digested = {key: content[key] for key in ("classes", "splits", "options")}
    text = json.dumps(digested | {"converter_version": CONVERTER_VERSION}, sort_keys=True)
    content["digest"] = hashlib.sha256(text.encode()).hexdigest()
    path.write_text(json.dumps(content))


def split_of(data_dir: Path, split: str) -> SplitReader:
    return open_split(LocalDirectory(data_dir), split)


def names_in(source: Path, split: str) -> list[str]:
    """Return the stems that a VOC list names."""
    return (source / f"ImageSets/Main/{split}.txt").read_text().split()


def voc_objects(xml_path: Path) -> list[tuple[str, list[int]]]:
    """Return class and corners of each object."""
    keys = ("xmin", "ymin", "xmax", "ymax")
    return [
        (item.findtext("name", ""), [int(item.findtext(f"bndbox/{key}", "")) for key in keys])
        for item in ElementTree.parse(xml_path).iter("object")
    ]


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def file_hashes(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file in a folder by name, sorted."""
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}
