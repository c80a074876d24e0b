"""Start the ranks of this machine, one process each, and report how they ended."""

import math
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from types import FrameType

from ssd_core.backends.ranks import LAUNCHED, RANK_VARIABLES, Nodes
from ssd_core.errors import TransientError
from ssd_core.logs import common_options, logger

_LOST = TransientError.exit_code
_CONSEQUENCES = (_LOST, -signal.SIGTERM, 128 + signal.SIGTERM)
"""How a rank ends after another one failed: it notices, or this process ends it."""
_STOP_SECONDS, _KILL_SECONDS = 3.0, 10.0
"""From the first failure until the others, which may have noticed it, are stopped and killed."""
_POLL_SECONDS = 0.1

_Process = subprocess.Popen[bytes]


def launch(words: Sequence[str], nodes: Nodes) -> int:
    """Run an `ssd` command, with this one's common options, once per device of this machine.

    When one process fails, the others are ended too, within seconds. The result is the exit code of
    the rank that failed by itself; 75 if it was killed. A rank that has to be killed is named: it
    is the one that hangs, or one that waits for it.
    """
    with _received_signals() as received, ExitStack() as stack:
        codes = _finish(_start(words, nodes, stack), received)
    failed = {rank: code for rank, code in codes.items() if code}
    if not failed:
        return 0
    if received:
        return 128 + received[0]  # the ranks have reported it
    rank, code = min(failed.items(), key=lambda item: (item[1] in _CONSEQUENCES, item[0]))
    if code > 0:
        return code  # the rank has printed its error
    logger.error("rank %d was killed by %s", rank, signal.Signals(-code).name)
    return _LOST


def _start(words: Sequence[str], nodes: Nodes, stack: ExitStack) -> dict[int, _Process]:
    """Start the ranks, by number; the end of the stack kills what runs then."""
    inherited = {name: text for name, text in os.environ.items() if name not in RANK_VARIABLES}
    common = {
        LAUNCHED: 1,
        "WORLD_SIZE": nodes.world_size,
        "LOCAL_WORLD_SIZE": nodes.num_devices,
        "MASTER_ADDR": nodes.master_addr,
        "MASTER_PORT": nodes.master_port if nodes.nnodes > 1 else _find_free_port(),
    }
    processes = {}
    for local_rank in range(nodes.num_devices):
        rank = nodes.node_rank * nodes.num_devices + local_rank
        place = common | {"RANK": rank, "LOCAL_RANK": local_rank}
        process = subprocess.Popen(
            [sys.executable, "-m", "ssd_core.cli", *words, *common_options],
            env=inherited | {name: str(value) for name, value in place.items()},
            start_new_session=True,  # Ctrl-C reaches the ranks once, through this process
        )
        stack.callback(process.kill)
        processes[rank] = process
    return processes


def _finish(processes: Mapping[int, _Process], received: Sequence[int]) -> dict[int, int]:
    """Wait for all processes, pass signals on, and end all after the first failure.

    The exit code of a process that is killed here is 75.
    """
    failed_since, is_stopped, num_sent = math.inf, False, 0
    while running := {
        rank: process for rank, process in processes.items() if process.poll() is None
    }:
        due = list(received[num_sent:])
        num_sent = len(received)
        if any(process.returncode for process in processes.values()):
            failed_since = min(failed_since, time.monotonic())
        if not is_stopped and time.monotonic() - failed_since > _STOP_SECONDS:
            is_stopped = True
            due.append(signal.SIGTERM)
        for process in running.values():
            for number in due:
                process.send_signal(number)
        if time.monotonic() - failed_since > _KILL_SECONDS:
            _kill(running)
            break
        time.sleep(_POLL_SECONDS)
    return {
        rank: _LOST if rank in running else process.returncode
        for rank, process in processes.items()
    }


def _kill(running: Mapping[int, _Process]) -> None:
    for rank, process in running.items():
        logger.error("rank %d hung and was killed %d s after another one", rank, _KILL_SECONDS)
        process.kill()
        process.wait()


@contextmanager
def _received_signals() -> Iterator[list[int]]:
    """Collect SIGTERM and Ctrl-C during the block."""
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)

    previous = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _find_free_port() -> int:
    """Return a port of this machine that no process uses, and that the system assigns to none."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port
