"""Where and when a figure is measured: commit, processor, its clock and other load."""

import hashlib
import os
import subprocess
import time
from pathlib import Path

from ssd_core.process.processor import count_processors, read_processor_name

_MAX_DRIFT = 0.1
"""Of the clock, during a script; without other programs or with them it varies by a hundredth."""


def read_changes(root: Path) -> str:
    """Return the files that differ from the commit, one per line."""
    return _git(root, "status", "--porcelain")


def read_commit(root: Path) -> str:
    """Return the short name of the commit."""
    return _git(root, "rev-parse", "--short=7", "HEAD").strip()


def _git(root: Path, *words: str) -> str:
    return subprocess.run(
        ["git", *words], cwd=root, check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def describe_machine() -> str:
    """Return processor, cores and whether other programs compete for them."""
    cores, load = count_processors(), os.getloadavg()[0]
    state = f"busy (load {load:.0f})" if load > 1.5 * cores else "little other load"
    return f"{read_processor_name()}, {cores} cores, {state}"


def time_fixed_work() -> float:
    """Return the CPU time of a computation that only the clock of the processor changes."""
    times = []
    for _ in range(50):
        started = time.process_time()
        hashlib.pbkdf2_hmac("sha256", b"x", b"x", 5000)
        times.append(time.process_time() - started)
    return min(times)


def is_throttled(before: float, after: float) -> bool:
    """Return whether the clock changed between two times of the fixed work."""
    return max(before, after) > (1 + _MAX_DRIFT) * min(before, after)
