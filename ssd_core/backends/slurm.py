"""Ranks that `srun` starts: one per task of a step of Slurm."""

import os
import re
import zlib

from ssd_core.errors import UsageError

_SHELLS = ("bash", "interactive")
"""Names that salloc gives jobs that only have a shell."""

Stated = dict[str, tuple[str, str]]
"""By field of `RankEnv`: the variable that states it, and its text."""


def read_task() -> Stated:
    """Return what Slurm states about this task; nothing unless it is one of several.

    Raises:
        UsageError: a variable is missing.
    """
    count = _find("SLURM_STEP_NUM_TASKS", "SLURM_NTASKS")
    if count is None or count[1] == "1" or not _is_task():
        return {}
    nodes = _require("SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST", "SLURM_NODELIST")
    task: Stated = {
        "rank": _require("SLURM_PROCID"),
        "world_size": count,
        "local_rank": _require("SLURM_LOCALID"),
        "master_addr": (nodes[0], _first_host(nodes[1])),
        "master_port": ("SLURM_JOB_ID", _choose_port()),
    }
    _, node_id = _require("SLURM_NODEID")
    if per_node := _find("SLURM_STEP_TASKS_PER_NODE", "SLURM_TASKS_PER_NODE"):
        counts = _expand(per_node[1])
        if node_id.isdigit() and int(node_id) < len(counts):
            task["local_world_size"] = (per_node[0], counts[int(node_id)])
    own = _find("SLURM_CPUS_PER_TASK")
    if own and own[1].isdigit():
        task["own_processors"] = own
    visible = _find("CUDA_VISIBLE_DEVICES", "ASCEND_RT_VISIBLE_DEVICES")
    if visible and "," not in visible[1]:  # each task sees its own device only
        task["device_id"] = (visible[0], "0")
    return task


def _is_task() -> bool:
    """Return whether srun started this process; a shell of sbatch or salloc has no step."""
    if not os.environ.get("SLURM_PROCID"):
        return False
    is_batch = os.environ.get("ENVIRONMENT") == "BATCH"
    is_shell = is_batch or os.environ.get("SLURM_JOB_NAME") in _SHELLS
    return bool(os.environ.get("SLURM_STEP_ID")) or not is_shell


def _find(*names: str) -> tuple[str, str] | None:
    return next(((name, text) for name in names if (text := os.environ.get(name))), None)


def _require(*names: str) -> tuple[str, str]:
    found = _find(*names)
    if found is None:
        raise UsageError(
            f"this is one of several tasks of Slurm, but none of {', '.join(names)} is set; start "
            "it with srun, or unset SLURM_PROCID to run it alone"
        )
    return found


def _first_host(nodes: str) -> str:
    """Return the first host of a list such as `node[03-05,7],login`."""
    return re.sub(r"\[(\w+)[^\]]*\]", r"\1", nodes).partition(",")[0]


def _expand(counts: str) -> list[str]:
    """Return the tasks of each node from a list such as `4(x2),3`."""
    pairs = re.findall(r"(\d+)(?:\(x(\d+)\))?", counts)
    return [count for count, times in pairs for _ in range(int(times or 1))]


def _choose_port() -> str:
    """Return a port that all tasks of a step choose alike, other steps hardly ever."""
    step = [os.environ.get(name, "") for name in ("SLURM_JOB_ID", "SLURM_STEP_ID")]
    return str(20_000 + zlib.crc32(" ".join(step).encode()) % 12_000)
