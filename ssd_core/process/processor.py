"""The processor that this process runs on, its share of it, and the drivers of the machine."""

import os
import platform
import re
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


def read_governor(
    path: Path = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
) -> str:
    """Return the policy that sets the clock of the processor; empty where the system hides it."""
    return path.read_text().strip() if path.exists() else ""


_DRIVERS = {
    "NVIDIA driver": ("proc/driver/nvidia/version", r"Module.*?\s(\d+\.[\d.]+)\s"),
    "Ascend driver": ("usr/local/Ascend/driver/version.info", r"^Version=(\S+)"),
}
"""File that states the version of a driver, and the place of the version in it."""


def read_drivers(root: Path = Path("/")) -> dict[str, str]:
    """Return the versions of the drivers of accelerators on this machine."""
    found = {}
    for name, (path, pattern) in _DRIVERS.items():
        content = (root / path).read_text() if (root / path).exists() else ""
        if match := re.search(pattern, content, re.MULTILINE):
            found[name] = match[1]
    return found
