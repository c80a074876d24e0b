"""Outputs of stages, changed as if the stage had written them so."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any


def change_output(
    directory: Path,
    *,
    results: Callable[[dict[str, Any]], object] = lambda content: None,
    invocation: Callable[[dict[str, Any]], object] = lambda content: None,
) -> None:
    """Change the content of both files; the results name the new invocation."""
    request = _change(directory / "invocation.json", invocation)
    digest = hashlib.sha256(request).hexdigest()
    _change(directory / "results.json", lambda content: content.update(invocation=digest))
    _change(directory / "results.json", results)


def _change(path: Path, change: Callable[[dict[str, Any]], object]) -> bytes:
    content = json.loads(path.read_bytes())
    change(content)
    path.write_text(json.dumps(content))
    return path.read_bytes()
