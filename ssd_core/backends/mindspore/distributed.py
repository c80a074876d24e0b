"""Ranks of MindSpore: hosts exchange messages through rank 0, devices sum over their own library.

MindSpore can exchange messages, too, but it holds Python's lock while it waits, so that neither a
signal nor the watchdog is served, and it does not notice that another rank has ended.
"""

import atexit
import json
import logging
import os
import socket
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta
from typing import TypeVar

import numpy as np
from mindspore import Tensor, ops
from mindspore.communication.management import _init_with_store
from mindspore.mint.distributed import TCPStore

from ssd_core.backends.ranks import RankEnv, Ranks, lost_rank, missed_ranks
from ssd_core.errors import SHORTAGES, UsageError
from ssd_core.logs import logger
from ssd_core.process import watchdog
from ssd_core.structures import Array

_TIMEOUT_SECONDS = 15 * 60.0
"""How long a rank waits for another one; it waits for the work of rank 0 without a limit."""
_STORE_TIMEOUT = timedelta(minutes=1)
"""How long MindSpore waits for ranks that have met already."""
_RETRY_SECONDS = 0.1
_GREETING_SECONDS = 10.0
"""How long rank 0 listens to a new connection, which may be a stranger's."""
_MARK = b"ssd-rank"
_GREETING = struct.Struct("!8sII")
"""The mark, and rank and world size of the caller."""
_LENGTH = struct.Struct("!Q")

ResultT = TypeVar("ResultT")


class MindSporeRanks(Ranks):
    """This process among several that train one network."""

    def __init__(self, env: RankEnv, peers: list[socket.socket]) -> None:
        """Take the connections of rank 0 to the others in order, or that of another one to it."""
        super().__init__(env)
        self._peers = peers

    def greatest(self, number: int) -> int:
        """Return the greatest of the numbers that the ranks pass."""
        numbers = self.gather(number)
        with self.in_touch(), watchdog.expecting("another rank"):
            greatest: int = json.loads(self._follow(json.dumps(max(numbers, default=0)).encode()))
        return greatest

    def gather(self, value: ResultT) -> list[ResultT]:
        """Return the values of all ranks on rank 0."""
        with self.in_touch(), watchdog.expecting("another rank"):
            if self.rank:
                _send(self._peers[0], json.dumps(value).encode())
                return []
            return [value, *(json.loads(_receive(peer)) for peer in self._peers)]

    def on_first(self, work: Callable[[], ResultT]) -> ResultT:
        """Let rank 0 do `work`, and return its result."""
        result = json.dumps(work()).encode() if self.rank == 0 else b""
        with self.in_touch(), watchdog.waiting():  # rank 0 has its own watchdog
            shared: ResultT = json.loads(self._follow(result, timeout=None))
        return shared

    def share(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Return the arrays of rank 0."""
        shared = {}
        with self.in_touch():
            for name, array in sorted(arrays.items()):
                content = self._follow(array.tobytes())
                shared[name] = np.frombuffer(content, array.dtype).reshape(array.shape)
        return shared

    def connect(self, device: str, collectives: str) -> None:
        """Prepare sums, after a check that all ranks use the same kind of device."""
        first, host, port = self.on_first(lambda: (device, *self._choose_address()))
        if first != device:
            raise UsageError(f"rank {self.rank} computes on {device}, rank 0 on {first}")
        try:
            store = TCPStore(host, port, self.world_size, self.rank == 0, _STORE_TIMEOUT)
            _init_with_store(collectives, _STORE_TIMEOUT, self.world_size, self.rank, store)
        except RuntimeError as error:  # MindSpore has no narrower class
            raise missed_ranks(self.env, str(error).partition("\n")[0]) from None

    def sum(self, tensor: Tensor) -> Tensor:
        """Return the sum of the tensors of all ranks; a step has the operation in its graph."""
        with self.in_touch():
            return ops.AllReduce()(tensor)

    @contextmanager
    def in_touch(self) -> Iterator[None]:
        """Turn the loss of another rank in the block into a TransientError."""
        try:
            yield
        except (EOFError, OSError) as error:
            if isinstance(error, OSError) and error.errno in SHORTAGES:
                raise  # a full disk, for example
            raise lost_rank(self.env, error) from None
        except RuntimeError as error:  # MindSpore has no narrower class
            if "AllReduce" not in str(error):
                raise
            raise lost_rank(self.env, "a sum over the ranks was not completed") from None

    def _choose_address(self) -> tuple[str, int]:
        """Return an address of rank 0 that the others reach, with a free port."""
        host = self._peers[0].getsockname()[0]
        with socket.create_server((host, 0)) as server:
            return host, server.getsockname()[1]

    def _follow(self, message: bytes, timeout: float | None = _TIMEOUT_SECONDS) -> bytes:
        """Return the message of rank 0."""
        for peer in self._peers if self.rank == 0 else ():
            _send(peer, message)
        return message if self.rank == 0 else _receive(self._peers[0], timeout)


@contextmanager
def join(env: RankEnv) -> Iterator[MindSporeRanks]:
    """Meet the other ranks at the address of rank 0; leave them at the end.

    After an error inside, this process does not wait for the others: it is about to end, which they
    notice.
    """
    with ExitStack() as stack:
        try:
            peers = _answer(env) if env.rank == 0 else [_call(env)]
        except OSError as error:
            raise missed_ranks(env, error) from None
        for peer in peers:
            stack.enter_context(peer)
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        atexit.register(_silence)
        # MindSpore reads the rank table, too, but not which device is that of this process.
        os.environ.setdefault("DEVICE_ID", str(env.device_id))
        if env.rank:
            logger.setLevel(logging.WARNING)  # rank 0 reports the progress of all
        ranks = MindSporeRanks(env, peers)
        yield ranks
        ranks.greatest(0)  # rank 0 holds MindSpore's store, which the others may still need


def _silence() -> None:
    """Drop what MindSpore's threads write on standard error at the end of every rank."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def _answer(env: RankEnv) -> list[socket.socket]:
    """Wait until every other rank has called."""
    peers: dict[int, socket.socket] = {}
    deadline = time.monotonic() + _TIMEOUT_SECONDS
    with socket.create_server(("", env.master_port), backlog=env.world_size) as server:
        while len(peers) < env.world_size - 1:
            server.settimeout(max(0.0, deadline - time.monotonic()))
            peer, _ = server.accept()
            peer.settimeout(_GREETING_SECONDS)
            with suppress(EOFError, OSError):
                mark, rank, world_size = _GREETING.unpack(_receive_bytes(peer, _GREETING.size))
                if mark == _MARK and world_size == env.world_size:
                    peers[rank] = peer
                    continue
            peer.close()
    return [peers[rank] for rank in sorted(peers)]


def _call(env: RankEnv) -> socket.socket:
    """Connect to rank 0, which may start later."""
    deadline = time.monotonic() + _TIMEOUT_SECONDS
    while True:
        try:
            peer = socket.create_connection((env.master_addr, env.master_port), _TIMEOUT_SECONDS)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_RETRY_SECONDS)
        else:
            peer.sendall(_GREETING.pack(_MARK, env.rank, env.world_size))
            return peer


def _send(peer: socket.socket, message: bytes) -> None:
    peer.settimeout(_TIMEOUT_SECONDS)
    peer.sendall(_LENGTH.pack(len(message)) + message)


def _receive(peer: socket.socket, timeout: float | None = _TIMEOUT_SECONDS) -> bytes:
    """Return the next message; None for the timeout waits without a limit."""
    peer.settimeout(timeout)
    (length,) = _LENGTH.unpack(_receive_bytes(peer, _LENGTH.size))
    return bytes(_receive_bytes(peer, length))


def _receive_bytes(peer: socket.socket, length: int) -> bytearray:
    content = bytearray(length)
    rest = memoryview(content)
    while rest:
        count = peer.recv_into(rest)
        if not count:
            raise EOFError("it has closed the connection")
        rest = rest[count:]
    return content
