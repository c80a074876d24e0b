"""The memory of this process, and its limit."""

import re
from pathlib import Path


def read_peak_memory(status_path: Path = Path("/proc/self/status")) -> int | None:
    """Return the most bytes that this process has had in memory; None if the system hides it.

    `getrusage` would count those of the process that has started this one.
    """
    text = status_path.read_text() if status_path.exists() else ""
    found = re.search(r"^VmHWM:\s+(\d+) kB$", text, re.MULTILINE)
    return int(found[1]) * 1024 if found else None


def read_memory_limit(
    machine_path: Path = Path("/proc/meminfo"),
    limit_path: Path = Path("/sys/fs/cgroup/memory.max"),
) -> int:
    """Return the bytes of memory of this machine, or of this container if it has fewer."""
    found = re.search(r"^MemTotal:\s+(\d+) kB$", machine_path.read_text(), re.MULTILINE)
    limit = limit_path.read_text().strip() if limit_path.exists() else "max"
    limits = [int(found[1]) * 1024] if found else []
    return min(limits + ([int(limit)] if limit != "max" else []))
