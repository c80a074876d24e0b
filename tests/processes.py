"""Processes of the machine, as tests look at them: who is below whom, and who still runs."""

import time
from pathlib import Path

import pytest


def is_alive(pid: int) -> bool:
    """Say whether a process runs; one that has ended and was not yet waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until_gone(*pids: int) -> None:
    """Return when none of the processes runs any more."""
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
