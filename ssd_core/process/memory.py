"""The memory of this process."""

import re
from pathlib import Path


def read_peak_memory(status_path: Path = Path("/proc/self/status")) -> int | None:
    """Return the most bytes that this process has had in memory; None if the system hides it.

    `getrusage` would count those of the process that has started this one.
    """
    text = status_path.read_text() if status_path.exists() else ""
    found = re.search(r"^VmHWM:\s+(\d+) kB$", text, re.MULTILINE)
    return int(found[1]) * 1024 if found else None
