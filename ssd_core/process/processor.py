"""The processor that this process runs on, and its share of it."""

import os
import platform
from pathlib import Path


def read_processor_name(info_path: Path = Path("/proc/cpuinfo")) -> str:
    """Return the processor's name, or its architecture if it has none."""
    lines = info_path.read_text().splitlines() if info_path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def count_processors(limit_path: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Return the number of processors that this process may use.

    Python counts those of the machine; a container may be limited to some of them, or to a share of
    their time.
    """
    own = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, _, period = (
        limit_path.read_text().partition(" ") if limit_path.exists() else ("max", "", "")
    )
    return own if quota == "max" else max(1, min(own, int(quota) // int(period)))
