"""Start ranks as torchrun and srun do, but each under the control of the test."""

import os
import socket
import subprocess
from collections.abc import Mapping, Sequence


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
    }
    return _start(words, world_size, place, ("RANK", "LOCAL_RANK"))


def start_tasks(words: Sequence[str], count: int) -> list[subprocess.Popen[str]]:
    """Start `count` processes of a command with the variables of `srun` on one node."""
    place = {
        "SLURM_JOB_ID": os.getpid(),
        "SLURM_STEP_ID": free_port(),  # another port of rank 0 for each step
        "SLURM_STEP_NUM_TASKS": count,
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_STEP_TASKS_PER_NODE": count,
        "SLURM_NODEID": 0,
    }
    return _start(words, count, place, ("SLURM_PROCID", "SLURM_LOCALID"))


def _start(
    words: Sequence[str], count: int, place: Mapping[str, object], names: Sequence[str]
) -> list[subprocess.Popen[str]]:
    common = os.environ | {name: str(value) for name, value in place.items()}
    return [
        subprocess.Popen(
            words,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=common | {"OMP_NUM_THREADS": "1"} | dict.fromkeys(names, str(rank)),
        )
        for rank in range(count)
    ]


def finish_ranks(processes: Sequence[subprocess.Popen[str]]) -> list[tuple[int, str, str]]:
    """Wait for all; return the exit code, output and errors of each."""
    ends = []
    for process in processes:
        output, errors = process.communicate()
        ends.append((process.returncode, output, errors))
    return ends
