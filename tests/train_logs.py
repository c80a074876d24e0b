"""The log of a training as a list of lines."""

from pathlib import Path
from typing import Any

from ssd_core.train_log import parse_log


def read_log(path: Path) -> list[dict[str, Any]]:
    return parse_log(path.read_bytes(), path)
