"""The command of every pod: `ssd train`, once for each process, with ranks from the environment."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ssd_core.errors import UsageError
from ssd_core.launch.placement import JobKindName

_RANK_VARIABLES = {
    ("TrainJob", "torch"): ("PET_NODE_RANK", "PET_MASTER_ADDR", "PET_MASTER_PORT"),
    ("AscendJob", "torch"): ("RANK", "MASTER_ADDR", "MASTER_PORT"),
    ("AscendJob", "mindspore"): ("MS_NODE_RANK", "MS_SCHED_HOST", "MS_SCHED_PORT"),
}
"""What the operator of a job tells a pod: its number, and where node 0 listens."""


def train_command(
    config: Mapping[str, Any], base: Mapping[str, Any], /, **options: str
) -> tuple[str, ...]:
    """Return `ssd train` with the changes that make `config` out of the recipe's section.

    Args:
        config: the `train` section that is wanted, complete.
        base: the `train` section of the recipe.
        options: further options by name: data, recipe, out, ...
    """
    words = ["ssd", "train"]
    for name, value in options.items():
        words += [f"--{name}", value]
    for path, value in _changes(base, config, "train"):
        words += ["--set", f"{path}={json.dumps(value)}"]
    return tuple(words)


def node_command(
    command: Sequence[str], kind: JobKindName, framework: str, *, nodes: int, processes: int
) -> tuple[str, ...]:
    """Return what one pod runs: `command` in each of its processes.

    Kubernetes itself replaces `$(NAME)` by a variable of the pod, so that no shell is needed.

    Raises:
        UsageError: this kind of job does not know the framework.
    """
    if (kind, framework) not in _RANK_VARIABLES:
        known = [word for other, word in _RANK_VARIABLES if other == kind]
        raise UsageError(
            f"a {kind} cannot run '{framework}' on {nodes} nodes; it knows {', '.join(known)}"
        )
    rank, address, port = (f"$({name})" for name in _RANK_VARIABLES[kind, framework])
    if framework == "mindspore":
        starter = [
            "msrun",
            f"--worker_num={nodes * processes}",
            f"--local_worker_num={processes}",
            f"--node_rank={rank}",
            f"--master_addr={address}",
            f"--master_port={port}",
            "--log_dir=/tmp/msrun",
            "--join=True",
        ]
    else:
        starter = [
            "torchrun",
            f"--nnodes={nodes}",
            f"--nproc-per-node={processes}",
            f"--node-rank={rank}",
            f"--master-addr={address}",
            f"--master-port={port}",
            "--no-python",
        ]
    return (*starter, *command)


def _changes(
    old: Mapping[str, Any], new: Mapping[str, Any], path: str
) -> Iterator[tuple[str, Any]]:
    for key, value in new.items():
        before = old.get(key)
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            yield from _changes(before, value, f"{path}.{key}")
        elif before != value:
            yield f"{path}.{key}", value
