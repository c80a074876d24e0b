"""SIGTERM to `ssd train` as process 1 of a container, before its ranks are running.

The kernel ignores a signal without a handler there; a process that inherits SIG_IGN does, too.
"""

import re
import signal
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.faults.training_process import start, train_command
from tests.store.servers import wait_until

pytestmark = pytest.mark.usefixtures("code_dir")


def start_as_process_1(words: Sequence[str], **variables: str) -> "subprocess.Popen[str]":
    return start(words, lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN), **variables)


def has_handler(pid: int) -> bool:
    (caught,) = re.findall(r"^SigCgt:\s(\w+)$", Path(f"/proc/{pid}/status").read_text(), re.M)
    return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)


def test_it_ends_during_the_imports(bccd_shards: Path, tmp_path: Path) -> None:
    process = start_as_process_1(train_command({"steps": 2000}, bccd_shards, tmp_path))
    assert wait_until(lambda: has_handler(process.pid))
    process.terminate()
    process.communicate()
    assert process.returncode == 143
    assert not (tmp_path / "training.json").exists()


@pytest.mark.parametrize("is_rank", [False, True])
def test_it_ends_in_the_rendezvous(bccd_shards: Path, tmp_path: Path, is_rank: bool) -> None:
    """The master accepts a connection and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as master:
        port = str(master.getsockname()[1])
        words = train_command({"steps": 2000, "batch_size": 4}, bccd_shards, tmp_path)
        variables = {}
        if is_rank:
            variables = {"RANK": "1", "LOCAL_RANK": "0", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "1"}
            variables |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        else:
            words += ["--nnodes", "2", "--node-rank", "1", "--master-port", port]
        process = start_as_process_1(words, **variables)
        with master.accept()[0]:
            process.terminate()
            _, errors = process.communicate()
    assert process.returncode == 143
    assert errors == f"waiting for 1 other rank at 127.0.0.1:{port}\n"
