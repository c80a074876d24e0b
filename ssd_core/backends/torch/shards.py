"""A batch in fixed parts, called shards: then the weights do not depend on the number of ranks.

Each shard is a rank to the network. It computes in a thread of its own, whose kernels use no other
thread, and meets the others wherever a sum over the whole batch is due. All sums follow one binary
tree: the shards of a process first, then pairs of processes.
"""

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

import torch
from torch import Tensor

from ssd_core.backends.ranks import Ranks
from ssd_core.backends.torch.devices import Device
from ssd_core.backends.torch.gradients import join_gradients
from ssd_core.errors import UsageError
from ssd_core.structures import Batch

ResultT = TypeVar("ResultT")


class Shards(Ranks):
    """The shards of all ranks; in the thread of a shard the methods are those of that shard."""

    def __init__(self, num_shards: int, ranks: Ranks, device: Device) -> None:
        """Take a power of 2 as the number of shards, and a divisor of it as that of the ranks."""
        if device.torch_device.type != "cpu":
            raise UsageError("train.virtual_shards is implemented on CPUs only; use --device cpu")
        super().__init__(ranks.env)
        self.world_size = num_shards
        self.num_local = num_shards // ranks.world_size
        self._ranks = ranks
        self._thread = threading.local()
        self._meeting = threading.Barrier(self.num_local)
        self._terms = [torch.empty(0)] * self.num_local
        self._total = torch.empty(0)
        torch.set_num_threads(1)  # the update adds up gradients, and evaluations select weights
        self._pool = ThreadPoolExecutor(
            self.num_local, initializer=torch.set_num_threads, initargs=(1,)
        )

    @property
    def index(self) -> int:
        """Number of this shard within the process, from 0."""
        number: int = self._thread.index
        return number

    @property
    def tracks_statistics(self) -> bool:
        """Whether this is the first shard of the process."""
        return self.index == 0

    def run(self, work: Callable[[Batch], ResultT], batch: Batch) -> ResultT:
        """Call `work` with each shard of the batch at once; return the result of the first."""
        self._meeting = threading.Barrier(self.num_local, self._add)
        results = [
            self._pool.submit(self._work, work, index, part)
            for index, part in enumerate(batch.split(self.num_local))
        ]
        wait(results)
        errors = [error for result in results if (error := result.exception())]
        # A failed shard breaks the meeting of the others.
        errors.sort(key=lambda error: isinstance(error, threading.BrokenBarrierError))
        if errors:
            # An unfinished backward pass leaves Python objects in its thread, which aborts the
            # process if the thread ends with the interpreter.
            self._pool.shutdown()
            raise errors[0]
        return results[0].result()

    def _work(self, work: Callable[[Batch], ResultT], index: int, part: Batch) -> ResultT:
        self._thread.index = index
        try:
            return work(part)
        except BaseException:
            self._meeting.abort()
            raise

    def sum(self, tensor: Tensor) -> Tensor:
        """Return the sum of the tensors of all shards, to be read only; overwrites the tensor."""
        self._terms[self.index] = tensor
        self._meeting.wait()
        return self._total

    def _add(self) -> None:
        """Add the terms up while all shards of the process wait."""
        terms = self._terms
        while len(terms) > 1:
            terms = [low.add_(high) for low, high in zip(terms[::2], terms[1::2], strict=True)]
        self._total = self._ranks.sum_pairwise(terms[0])


class ShardGradients:
    """The gradients of all parameters, kept apart for each shard until they are summed."""

    def __init__(self, parameters: Iterable[torch.nn.Parameter], shards: Shards) -> None:
        self._parameters, self._shards = list(parameters), shards
        self._parts = [join_gradients(self._parameters) for _ in range(shards.num_local)]
        for parameter, gradient in zip(self._parameters, self._parts[0][1], strict=True):
            parameter.grad = gradient  # the sum replaces those of the first shard

    def clear(self, num_losses: int) -> None:
        """Prepare for the next step."""
        self._parts[self._shards.index][0].zero_()

    def add(self, loss: Tensor) -> None:
        """Add the gradients of a loss of this shard."""
        _, gradients = self._parts[self._shards.index]
        torch._foreach_add_(gradients, torch.autograd.grad(loss, self._parameters))

    def sum(self) -> None:
        """Add the gradients of the other shards."""
        self._shards.sum(self._parts[self._shards.index][0])
