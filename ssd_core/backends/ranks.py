"""The processes that train one network together: ranks, as `torchrun` numbers them."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

from ssd_core.errors import UsageError
from ssd_core.structures import Array

ResultT = TypeVar("ResultT")


class Ranks(Protocol):
    """What the loop asks of the others; each rank must call the same methods in the same order.

    All methods raise SurroundingsError when another rank is lost.
    """

    rank: int
    """0 .. world_size - 1; rank 0 alone writes files."""
    world_size: int

    def greatest(self, number: int) -> int:
        """Return the greatest of the numbers that the ranks give."""

    def on_first(self, work: Callable[[], ResultT]) -> ResultT:
        """Let rank 0 do `work` while the others wait, however long; all return what JSON keeps."""

    def share(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Return the arrays of rank 0; names, shapes and types must be those of all ranks."""


class Alone:
    """One process for all."""

    rank, world_size = 0, 1

    def greatest(self, number: int) -> int:
        """Return the number."""
        return number

    def on_first(self, work: Callable[[], ResultT]) -> ResultT:
        """Do the work."""
        return work()

    def share(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Return the arrays."""
        return dict(arrays)


ALONE = Alone()


@dataclass(frozen=True, slots=True)
class Nodes:
    """The machines of a training and the devices of each, as the user names them."""

    num_devices: int
    """Of this machine."""
    nnodes: int = 1
    """Number of machines."""
    node_rank: int = 0
    """Number of this one, from 0."""
    master_addr: str = "127.0.0.1"
    """Address of machine 0."""
    master_port: int = 29500
    """A free port there."""

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


@dataclass(frozen=True, slots=True)
class RankPlace:
    """Where a process stands among the others, and where it meets them."""

    rank: int
    world_size: int
    local_rank: int
    """0 .. local_world_size - 1: the number among those of this machine, and of its device."""
    local_world_size: int


ALONE_PLACE = RankPlace(0, 1, 0, 1)


def read_rank_place() -> RankPlace:
    """Return what the environment says: RANK, WORLD_SIZE and the others that `torchrun` sets.

    Raises:
        UsageError: one of them is missing, or no number in its range.
    """
    world_size = _read("WORLD_SIZE", 1, 2**20, default=1)
    if world_size == 1:
        return ALONE_PLACE
    for name in ("MASTER_ADDR", "MASTER_PORT"):
        if not os.environ.get(name):
            raise UsageError(f"WORLD_SIZE is {world_size}, but {name} is not set: see torchrun")
    local_world_size = _read("LOCAL_WORLD_SIZE", 1, world_size, default=1)
    return RankPlace(
        rank=_read("RANK", 0, world_size - 1),
        world_size=world_size,
        local_rank=_read("LOCAL_RANK", 0, world_size - 1, default=0),
        local_world_size=local_world_size,
    )


def _read(name: str, lowest: int, highest: int, default: int | None = None) -> int:
    text = os.environ.get(name, "" if default is None else str(default))
    if not (text.isascii() and text.isdigit() and lowest <= int(text) <= highest):
        raise UsageError(
            f"the environment's {name} is '{text}', expected a number {lowest}..{highest}, as "
            "torchrun sets it"
        )
    return int(text)
