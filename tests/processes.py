"""The `ssd` command as a process, and the processes of this machine."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

SSD = Path(sys.executable).with_name("ssd")


def is_alive(pid: int) -> bool:
    """Return whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until_gone(*pids: int) -> None:
    """Wait until none of the processes runs any more."""
    deadline = time.monotonic() + 60
    while any(map(is_alive, pids)):
        if time.monotonic() > deadline:
            pytest.fail(f"of the processes {pids} some still run")
        time.sleep(0.02)


def children(pid: int) -> list[int]:
    """Return the processes that a process has started."""
    try:
        return [int(c) for c in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def descendants(pid: int) -> list[int]:
    """Return the processes below `pid`, nearest first."""
    own = children(pid)
    return own + [below for child in own for below in descendants(child)]


def run_ssd(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    """Run the `ssd` command and return its output and exit code."""
    return subprocess.run([SSD, *arguments], capture_output=True, text=True)
