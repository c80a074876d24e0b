"""Ranks that communicate through torch.distributed.

Hosts exchange messages over gloo, devices over their own library. A rank that is killed closes its
connections, so the others notice at their next message; a rank whose machine vanishes is given up
after `_TIMEOUT`.
"""

import itertools
import json
import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from ssd_core.backends.ranks import RankEnv, Ranks, lost_rank, missed_ranks
from ssd_core.errors import UsageError
from ssd_core.logs import logger
from ssd_core.process import watchdog
from ssd_core.structures import Array

_TIMEOUT = timedelta(minutes=15)
"""How long a rank waits for another one; it waits for the work of rank 0 without a limit."""

_POLL_SECONDS = 0.05

ResultT = TypeVar("ResultT")


class TorchRanks(Ranks):
    """This process among several that train one network."""

    def __init__(self, env: RankEnv, store: Store) -> None:
        super().__init__(env)
        self._store = store
        self._turns = itertools.count()
        self._devices: dist.ProcessGroup | None = None

    def greatest(self, number: int) -> int:
        """Return the greatest of the numbers that the ranks pass."""
        tensor = torch.tensor(number)
        with self.in_touch():
            dist.all_reduce(tensor, op=dist.ReduceOp.MAX)
        return int(tensor)

    def on_first(self, work: Callable[[], ResultT]) -> ResultT:
        """Let rank 0 do `work`, and return its result from the rendezvous store."""
        key = f"on-first-{next(self._turns)}"
        if self.rank == 0:
            result = work()
            with self.in_touch():
                self._store.set(key, json.dumps(result))
            return result
        with self.in_touch():
            while not self._store.check([key]):
                watchdog.beat()  # rank 0 has its own watchdog
                time.sleep(_POLL_SECONDS)
            shared: ResultT = json.loads(self._store.get(key))
        return shared

    def gather(self, value: ResultT) -> list[ResultT]:
        """Return the values of all ranks on rank 0."""
        values: list[ResultT] = [value] * self.world_size
        with self.in_touch():
            dist.gather_object(value, None if self.rank else values)
        return [] if self.rank else values

    def share(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Return the arrays of rank 0."""
        tensors = {name: torch.tensor(arrays[name]) for name in sorted(arrays)}
        with self.in_touch():
            for tensor in tensors.values():
                dist.broadcast(tensor, 0)
        return {name: tensor.numpy() for name, tensor in tensors.items()}

    def connect(self, device: str, collectives: str) -> None:
        """Prepare `sum`, after a check that all ranks use the same kind of device."""
        first = self.on_first(lambda: device)
        if first != device:
            raise UsageError(f"rank {self.rank} computes on {device}, rank 0 on {first}")
        with self.in_touch():
            group = dist.new_group(backend=collectives, timeout=_TIMEOUT)
        assert isinstance(group, dist.ProcessGroup)
        self._devices = group

    def sum(self, tensor: Tensor) -> Tensor:
        """Replace a tensor on the device by its sum over all ranks, and return it."""
        with self.in_touch():
            dist.all_reduce(tensor, group=self._devices)
        return tensor

    def begin_sum(self, tensor: Tensor) -> Callable[[], None]:
        """Begin to replace a tensor on the device by its sum; return what waits for the end."""
        with self.in_touch():
            work = dist.all_reduce(tensor, group=self._devices, async_op=True)

        def finish() -> None:
            with self.in_touch():
                work.wait()

        return finish

    def sum_pairwise(self, tensor: Tensor) -> Tensor:
        """Replace a tensor by its sum over 2^n ranks, and return it."""
        received = torch.empty_like(tensor)
        with self.in_touch():
            for level in range((self.world_size - 1).bit_length()):
                partner = self.rank ^ (1 << level)
                messages = [
                    dist.P2POp(dist.isend, tensor, partner, self._devices),
                    dist.P2POp(dist.irecv, received, partner, self._devices),
                ]
                for message in dist.batch_isend_irecv(messages):
                    message.wait()
                tensor.add_(received)  # a + b and b + a are the same bits
        return tensor

    @contextmanager
    def in_touch(self) -> Iterator[None]:
        """Turn the loss of another rank in the block into a TransientError."""
        try:
            with watchdog.expecting("another rank"):
                yield
        except RuntimeError as error:  # torch has no narrower class for a lost connection
            raise lost_rank(self.env, _reason(error)) from None


@contextmanager
def join(env: RankEnv) -> Iterator[TorchRanks]:
    """Meet the other ranks at the address of rank 0; leave them at the end.

    After an error inside, this process does not wait for the others: it is about to end, which they
    notice.
    """
    host = f"[{env.master_addr}]" if ":" in env.master_addr else env.master_addr
    try:
        place = f"tcp://{host}:{env.master_port}"
        meeting = rendezvous(place, env.rank, env.world_size, timeout=_TIMEOUT)
        store, _, _ = next(meeting)
        store.set_timeout(_TIMEOUT)
        dist.init_process_group(
            "gloo",
            store=PrefixStore("hosts", store),
            rank=env.rank,
            world_size=env.world_size,
            timeout=_TIMEOUT,
        )
    except RuntimeError as error:
        raise missed_ranks(env, _reason(error)) from None
    if env.rank:
        logger.setLevel(logging.WARNING)  # rank 0 reports the progress of all
    ranks = TorchRanks(env, store)
    yield ranks
    ranks.greatest(0)  # rank 0 holds the store, which the others may still be reading
    dist.destroy_process_group()


def _reason(error: RuntimeError) -> str:
    """Return the first sentence of an error of torch, without its position in torch's source."""
    return re.sub(r"^\[\S+\]\s*", "", str(error).partition("\n")[0]).partition(". ")[0]
