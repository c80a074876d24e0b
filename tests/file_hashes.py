"""The content of a folder, to compare conversions byte by byte."""

import hashlib
from pathlib import Path


def file_hashes(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file in a folder by name, sorted."""
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}
