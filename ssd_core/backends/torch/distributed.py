"""Ranks that speak through torch.distributed.

What hosts say to each other goes over gloo, what devices do over the device's own library. A rank
that is killed closes its connections, so the others notice at their next word; one whose machine
vanishes is given up after `_PATIENCE`.
"""

import itertools
import json
import logging
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from ssd_core.backends.ranks import RankPlace
from ssd_core.errors import SurroundingsError, UsageError
from ssd_core.logs import logger
from ssd_core.structures import Array

_PATIENCE = timedelta(minutes=15)
"""How long a rank waits for another one; rank 0 working for all is waited for without limit."""

_POLL_SECONDS = 0.05

ResultT = TypeVar("ResultT")


class TorchRanks:
    """This process among several that train one network."""

    def __init__(self, place: RankPlace, store: Store) -> None:
        self.rank, self.world_size = place.rank, place.world_size
        self.place = place
        self._store = store
        self._turns = itertools.count()
        self._devices: dist.ProcessGroup | None = None

    def connect(self, kind: str, collectives: str) -> None:
        """Prepare sums of tensors on devices of this kind, over the library `collectives`.

        Raises:
            UsageError: the ranks were started on different devices.
            SurroundingsError: another rank is lost.
        """
        first = self.on_first(lambda: kind)
        if first != kind:
            raise UsageError(f"rank {self.rank} computes on {kind}, rank 0 on {first}")
        with self._in_touch():
            group = dist.new_group(backend=collectives, timeout=_PATIENCE)
        assert isinstance(group, dist.ProcessGroup)
        self._devices = group

    def sum(self, tensor: Tensor) -> None:
        """Replace a tensor on the device by its sum over all ranks."""
        with self._in_touch():
            dist.all_reduce(tensor, group=self._devices)

    def greatest(self, number: int) -> int:
        """Return the greatest of the numbers that the ranks give."""
        tensor = torch.tensor(number)
        with self._in_touch():
            dist.all_reduce(tensor, op=dist.ReduceOp.MAX)
        return int(tensor)

    def on_first(self, work: Callable[[], ResultT]) -> ResultT:
        """Let rank 0 do `work` while the others wait, however long; all return what JSON keeps."""
        key = f"on-first-{next(self._turns)}"
        if self.rank == 0:
            result = work()
            with self._in_touch():
                self._store.set(key, json.dumps(result))
            return result
        with self._in_touch():
            while not self._store.check([key]):
                time.sleep(_POLL_SECONDS)
            shared: ResultT = json.loads(self._store.get(key))
        return shared

    def share(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Return the arrays of rank 0; names, shapes and types must be those of all ranks."""
        tensors = {name: torch.tensor(arrays[name]) for name in sorted(arrays)}
        with self._in_touch():
            for tensor in tensors.values():
                dist.broadcast(tensor, 0)
        return {name: tensor.numpy() for name, tensor in tensors.items()}

    @contextmanager
    def _in_touch(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:  # torch has no narrower class for a lost connection
            raise SurroundingsError(
                f"rank {self.rank} of {self.world_size} has lost another rank: {_reason(error)}; "
                "the same command continues from the last checkpoint"
            ) from None


@contextmanager
def join(place: RankPlace) -> Iterator[TorchRanks]:
    """Meet the other ranks at MASTER_ADDR:MASTER_PORT; part from them at the end.

    An error inside does not wait for the others: this process is about to end, which they notice.

    Raises:
        SurroundingsError: some do not come, or a rank is lost.
    """
    try:
        meeting = rendezvous("env://", place.rank, place.world_size, timeout=_PATIENCE)
        store, _, _ = next(meeting)
        store.set_timeout(_PATIENCE)
        dist.init_process_group(
            "gloo",
            store=PrefixStore("hosts", store),
            rank=place.rank,
            world_size=place.world_size,
            timeout=_PATIENCE,
        )
    except RuntimeError as error:
        raise SurroundingsError(
            f"rank {place.rank} of {place.world_size} cannot meet the others: {_reason(error)}"
        ) from None
    if place.rank:
        logger.setLevel(logging.WARNING)  # one of them is enough to say how it goes
    ranks = TorchRanks(place, store)
    yield ranks
    ranks.greatest(0)  # rank 0 keeps the store that the others may still read
    dist.destroy_process_group()


def _reason(error: RuntimeError) -> str:
    """Return the first sentence of an error of torch, without the line of its source."""
    return re.sub(r"^\[\S+\]\s*", "", str(error).partition("\n")[0]).partition(". ")[0]


class SharedGradients:
    """The gradients of all parameters as views of one array: a single sum makes them global."""

    def __init__(self, parameters: Iterable[torch.nn.Parameter], ranks: TorchRanks) -> None:
        self._ranks = ranks
        parameters = list(parameters)
        self._all = torch.zeros_like(
            torch.cat([parameter.detach().flatten() for parameter in parameters])
        )
        parts = torch.split(self._all, [parameter.numel() for parameter in parameters])
        for parameter, part in zip(parameters, parts, strict=True):
            # In the memory format of the parameter, as fused optimizers want it.
            parameter.grad = part.as_strided(parameter.shape, parameter.stride())

    def clear(self) -> None:
        """Set all to zero."""
        self._all.zero_()

    def sum(self) -> None:
        """Add those of all ranks."""
        self._ranks.sum(self._all)
