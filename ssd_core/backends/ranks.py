"""The processes that train one network together: ranks, numbered as `torchrun` does."""

import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ssd_core.backends.rank_table import read_rank_table
from ssd_core.backends.slurm import Stated, read_task
from ssd_core.errors import TransientError, UsageError
from ssd_core.process.processor import count_processors
from ssd_core.structures import Array, Batch

ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True)
class RankEnv:
    """The position of this process among all, as the environment states it."""

    rank: int = 0
    """0 .. world_size - 1; only rank 0 writes files."""
    world_size: int = 1
    local_rank: int = 0
    """0 .. local_world_size - 1: the position among the processes of this machine."""
    local_world_size: int = 1
    device_id: int = 0
    """Number of the accelerator; the local rank unless the environment assigns another one."""
    master_addr: str = "127.0.0.1"
    """Where rank 0 waits for the others."""
    master_port: int = 29500
    own_processors: int = 0
    """Most processors that Slurm binds to this process alone; 0 if the ranks share them."""

    @property
    def num_processors(self) -> int:
        """Processors to compute on: its own, or its share of those of the machine."""
        found = count_processors()
        return found if found <= self.own_processors else max(1, found // self.local_world_size)


class Ranks:
    """All that the loop and a learner need of the other processes; this class is a single one.

    Every rank must call the same methods in the same order. With several ranks every method raises
    TransientError when another rank is lost.
    """

    def __init__(self, env: RankEnv) -> None:
        self.env = env
        self.rank, self.world_size = env.rank, env.world_size

    def greatest(self, number: int) -> int:
        """Return the greatest of the numbers that the ranks pass."""
        return number

    def on_first(self, work: Callable[[], ResultT]) -> ResultT:
        """Let rank 0 do `work` while the others wait without a limit; all return its result.

        The result must survive a round trip through JSON.
        """
        return work()

    def gather(self, value: ResultT) -> list[ResultT]:
        """Return the values of all ranks, in their order, on rank 0; nothing on the others.

        They must survive a round trip through JSON.
        """
        return [value]

    def share(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Return the arrays of rank 0; names, shapes and types must be equal on all ranks."""
        return dict(arrays)

    def connect(self, device: str, collectives: str) -> None:
        """Prepare `sum` for tensors on one kind of device, over the library `collectives`."""

    def run(self, work: Callable[[Batch], ResultT], batch: Batch) -> ResultT:
        """Return `work(batch)`; if this process stands for several ranks, that of the first."""
        return work(batch)

    @property
    def tracks_statistics(self) -> bool:
        """Whether this rank updates the statistics of norms that its process keeps."""
        return True

    def sum(self, tensor: Any) -> Any:
        """Return the sum of the tensors that the ranks pass; it may overwrite the tensor."""
        return tensor

    def begin_sum(self, tensor: Any) -> Callable[[], None]:
        """Begin to replace a tensor by its sum; return the function that waits for the end."""
        return lambda: None

    def sum_pairwise(self, tensor: Any) -> Any:
        """Return a sum as `sum` does, of neighbours, then of pairs of neighbours, and so on.

        So it equals that of half as many ranks which sum their neighbours themselves.
        """
        return tensor

    def in_touch(self) -> AbstractContextManager[None]:
        """Turn what a framework raises in the block when a rank is lost into a TransientError."""
        return nullcontext()


ALONE = Ranks(RankEnv())


def lost_rank(env: RankEnv, reason: object) -> TransientError:
    """Return the error for a rank that has ended or cannot be reached."""
    return TransientError(
        f"rank {env.rank} of {env.world_size} has lost another rank: {reason}; "
        "the same command continues from the last checkpoint"
    )


def missed_ranks(env: RankEnv, reason: object) -> TransientError:
    """Return the error for ranks that do not meet at the start."""
    return TransientError(f"rank {env.rank} of {env.world_size} cannot meet the others: {reason}")


@dataclass(frozen=True, slots=True)
class Nodes:
    """The machines of a training and the devices of each, as the user names them."""

    num_devices: int
    """Of this machine."""
    nnodes: int = 1
    """Number of machines."""
    node_rank: int = 0
    """Number of this machine, from 0."""
    master_addr: str = "127.0.0.1"
    """Address of machine 0."""
    master_port: int = 29500
    """A free port of machine 0."""

    @property
    def world_size(self) -> int:
        """Number of processes on all machines."""
        return self.num_devices * self.nnodes

    def __post_init__(self) -> None:
        if not 0 <= self.node_rank < self.nnodes:
            raise UsageError(
                f"--node-rank is {self.node_rank}, expected 0..{self.nnodes - 1} of "
                f"{self.nnodes} machines"
            )


_VARIABLES = {
    "rank": ("RANK", "MS_NODE_ID", "RANK_ID"),
    "world_size": ("WORLD_SIZE", "MS_WORKER_NUM", "RANK_SIZE"),
    "local_rank": ("LOCAL_RANK",),
    "local_world_size": ("LOCAL_WORLD_SIZE", "MS_LOCAL_WORKER"),
    "device_id": ("DEVICE_ID",),
    "master_addr": ("MASTER_ADDR", "MS_SCHED_HOST"),
    "master_port": ("MASTER_PORT", "MS_SCHED_PORT"),
}
"""The environment variables of each value: those of torchrun, of msrun, of programs for Ascend."""
_TABLE = "RANK_TABLE_FILE"
_ROLE = "MS_ROLE"
LAUNCHED = "SSD_LAUNCHED"
"""Set in the ranks that `launcher.py` starts."""
RANK_VARIABLES = frozenset(name for names in _VARIABLES.values() for name in names) | {_ROLE}
"""All variables that define the rank of a process."""


def is_scheduler() -> bool:
    """Return whether this is the process that msrun adds to the ranks; ours do without it."""
    return os.environ.get(_ROLE) == "MS_SCHED"


def is_launched() -> bool:
    """Return whether `launcher.py` has started this rank, whose failure it reports itself."""
    return LAUNCHED in os.environ


def read_rank_env() -> RankEnv:
    """Read the variables of torchrun or msrun, RANK_ID and its row of a rank table, or Slurm's.

    Slurm's count only if no other variable states the number of ranks.

    Raises:
        UsageError: a variable is missing or invalid, or two contradict each other.
        DataError: the rank table is invalid.
    """
    path, rank_id = os.environ.get(_TABLE), os.environ.get("RANK_ID")
    row: Stated = {}
    if path and rank_id:
        found = read_rank_table(Path(path)).find(rank_id)
        row = {field: (_TABLE, text) for field, text in found.items()}
    elif not any(os.environ.get(name) for name in _VARIABLES["world_size"]):
        row = read_task()
    world_size = _number("world_size", row, 1, 2**20, default="1")
    if world_size == 1:
        return RankEnv()
    _, master_addr = _find("master_addr", row)
    device_id = os.environ.get("DEVICE_ID", "0")  # under msrun it is the local rank
    local_rank = _number("local_rank", row, 0, world_size - 1, default=device_id)
    return RankEnv(
        rank=_number("rank", row, 0, world_size - 1),
        world_size=world_size,
        local_rank=local_rank,
        local_world_size=_number("local_world_size", row, 1, world_size, default=str(world_size)),
        device_id=_number("device_id", row, 0, 2**10, default=str(local_rank)),
        master_addr=master_addr,
        master_port=_number("master_port", row, 1, 2**16 - 1, default="29500" if row else None),
        own_processors=int(row.get("own_processors", ("", "0"))[1]),
    )


def _number(field: str, row: Stated, lowest: int, highest: int, default: str | None = None) -> int:
    source, text = _find(field, row, default)
    if not (text.isascii() and text.isdigit() and lowest <= int(text) <= highest):
        raise UsageError(f"{source} is '{text}', expected a number {lowest}..{highest}")
    return int(text)


def _find(field: str, row: Stated, default: str | None = None) -> tuple[str, str]:
    """Return the source of a value and the value, on which all sources must agree."""
    names = _VARIABLES[field]
    stated = [(name, os.environ[name]) for name in names if os.environ.get(name)]
    if field in row and not (field.startswith("master") and stated):  # a host has several names
        stated.append(row[field])
    if not stated and default is not None:
        return names[0], default
    if not stated:
        raise UsageError(
            f"this is one of several ranks, but none of {', '.join(names)} is set; start the ranks "
            f"with torchrun, msrun or srun, or set RANK_ID and {_TABLE}"
        )
    (first, text), *others = stated
    for name, other in others:
        if other != text:
            raise UsageError(f"{first} is '{text}', but {name} is '{other}'; unset one of them")
    return first, text
