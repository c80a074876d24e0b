"""Start ranks as torchrun does, but each under the control of the test."""

import os
import socket
import subprocess
from collections.abc import Sequence


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def start_ranks(words: Sequence[str], world_size: int) -> list[subprocess.Popen[str]]:
    """Start `world_size` processes of a command with torchrun's environment variables."""
    place = {
        "WORLD_SIZE": world_size,
        "LOCAL_WORLD_SIZE": world_size,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": free_port(),
        "OMP_NUM_THREADS": 1,
    }
    return [
        subprocess.Popen(
            words,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ
            | {name: str(value) for name, value in place.items()}
            | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(world_size)
    ]


def finish_ranks(processes: Sequence[subprocess.Popen[str]]) -> list[tuple[int, str, str]]:
    """Wait for all; return the exit code, output and errors of each."""
    ends = []
    for process in processes:
        output, errors = process.communicate()
        ends.append((process.returncode, output, errors))
    return ends
