"""A client of docker that runs the command of a container here."""

import os
import shlex
import sys
from pathlib import Path

import pytest

CLIENT = """#!/bin/sh
echo "$@" >> "$(dirname "$0")/calls"
case $1 in
run) while [ "$1" != python3 ]; do shift; done; shift; exec {python} "$@" ;;
esac
"""


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the file with the calls of the client."""
    path = tmp_path / "bin" / "docker"
    path.parent.mkdir()
    path.write_text(CLIENT.format(python=shlex.quote(sys.executable)))
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{path.parent}:{os.environ['PATH']}")
    return path.with_name("calls")
