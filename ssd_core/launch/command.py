"""The command of every pod: `ssd train`, with the pod's number from its environment."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ssd_core.errors import unknown_name
from ssd_core.launch.placement import JobKindName

_PET = ("PET_NODE_RANK", "PET_MASTER_ADDR", "PET_MASTER_PORT")
_RANK_VARIABLES = {
    ("TrainJob", "torch"): _PET,
    ("TrainJob", "mindspore"): _PET,  # the runtime is one for torch, which only means its variables
    ("AscendJob", "torch"): ("RANK", "MASTER_ADDR", "MASTER_PORT"),
    ("AscendJob", "mindspore"): ("MS_NODE_RANK", "MS_SCHED_HOST", "MS_SCHED_PORT"),
}
"""What the operator of a job tells a pod: its number, and where pod 0 listens."""


def train_command(
    config: Mapping[str, Any], base: Mapping[str, Any], /, **options: str
) -> tuple[str, ...]:
    """Return the words of `ssd train` with the changes that make `config` out of a recipe.

    Args:
        config: the `train` section that is wanted, complete.
        base: the `train` section of the recipe.
        options: further options by name: data, recipe, out, ...
    """
    words = ["train"]
    for name, value in options.items():
        words += [f"--{name}", value]
    for path, value in _changes(base, config, "train"):
        words += ["--set", f"{path}={json.dumps(value)}"]
    return tuple(words)


def node_command(
    words: Sequence[str], kind: JobKindName, framework: str, *, nodes: int, processes: int
) -> tuple[str, ...]:
    """Return what one pod runs: the `ssd` command of these words in each of its processes.

    Kubernetes itself replaces `$(NAME)` by a variable of the pod, so that no shell is needed.

    Raises:
        UsageError: an unknown framework.
    """
    if (kind, framework) not in _RANK_VARIABLES:
        raise unknown_name("framework", framework, {word for _, word in _RANK_VARIABLES})
    rank, address, port = (f"$({name})" for name in _RANK_VARIABLES[kind, framework])
    if framework == "mindspore":
        return (
            "msrun",
            f"--worker_num={nodes * processes}",
            f"--local_worker_num={processes}",
            f"--node_rank={rank}",
            f"--master_addr={address}",
            f"--master_port={port}",
            "--log_dir=/tmp/msrun",
            "--tail_worker_log=0",
            "--join=True",
            *("python", "-m", "ssd_core.cli", *words),  # it takes a script, never a program
        )
    # The Ascend operator counts pods in RANK and processes in WORLD_SIZE. Without the latter
    # `ssd train` knows that it is no rank itself, and starts them.
    return (
        *("env", "-u", "WORLD_SIZE", "ssd", *words),
        *("--num-devices", str(processes), "--nnodes", str(nodes), "--node-rank", rank),
        *("--master-addr", address, "--master-port", port),
    )


def _changes(
    old: Mapping[str, Any], new: Mapping[str, Any], path: str
) -> Iterator[tuple[str, Any]]:
    for key, value in new.items():
        before = old.get(key)
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            yield from _changes(before, value, f"{path}.{key}")
        elif before != value:
            yield f"{path}.{key}", value
