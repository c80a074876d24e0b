"""The processes that train one network together: ranks, numbered as `torchrun` does."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from ssd_core.errors import UsageError
from ssd_core.structures import Array

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

    def share(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Return the arrays of rank 0; names, shapes and types must be equal on all ranks."""
        return dict(arrays)

    def connect(self, device: str, collectives: str) -> None:
        """Prepare `sum` for tensors on one kind of device, over the library `collectives`."""

    def sum(self, tensor: Any) -> Any:
        """Return the sum of the tensors that the ranks pass; it may overwrite the tensor."""
        return tensor


ALONE = Ranks(RankEnv())


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


def read_rank_env() -> RankEnv:
    """Read RANK, WORLD_SIZE and the other variables that `torchrun` sets."""
    world_size = _read("WORLD_SIZE", 1, 2**20, default=1)
    if world_size == 1:
        return RankEnv()
    for name in ("MASTER_ADDR", "MASTER_PORT"):
        if not os.environ.get(name):
            raise UsageError(f"WORLD_SIZE is {world_size}, but {name} is not set: see torchrun")
    return RankEnv(
        rank=_read("RANK", 0, world_size - 1),
        world_size=world_size,
        local_rank=_read("LOCAL_RANK", 0, world_size - 1, default=0),
        local_world_size=_read("LOCAL_WORLD_SIZE", 1, world_size, default=1),
    )


def _read(name: str, lowest: int, highest: int, default: int | None = None) -> int:
    text = os.environ.get(name, "" if default is None else str(default))
    if not (text.isascii() and text.isdigit() and lowest <= int(text) <= highest):
        raise UsageError(
            f"the environment variable {name} is '{text}', expected a number {lowest}..{highest} "
            "as torchrun sets it"
        )
    return int(text)
