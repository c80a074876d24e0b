"""Several ranks of MindSpore on one machine, in real processes, against a single one."""

import json
import os
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from ssd_core.backends.rank_table import build_rank_table
from ssd_core.backends.ranks import RankEnv
from ssd_core.errors import TransientError
from ssd_core.logs import logger
from tests.rank_processes import finish_ranks, free_port, start_ranks

pytestmark = pytest.mark.mindspore
COMMAND = [sys.executable, str(Path(__file__).with_name("sum_ranks.py"))]
ROOT = Path(__file__).parents[3]

distributed = pytest.importorskip("ssd_core.backends.mindspore.distributed")


@pytest.fixture(scope="module", autouse=True)
def paths():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.setenv("GLOG_v", "3")  # as the package sets it when it is imported first
        yield


@pytest.fixture(scope="module")
def alone(paths):
    return json.loads(subprocess.check_output(COMMAND))


@pytest.fixture(scope="module", params=["torchrun", "rank table"])
def found(request, paths, tmp_path_factory):
    """Return the output of each rank: four with torchrun's variables, or two of a rank table."""
    if request.param == "torchrun":
        processes = start_ranks(COMMAND, 4)
    else:
        processes = start_table(tmp_path_factory.mktemp("table") / "table.json")
    ends = finish_ranks(processes)
    assert [(code, errors) for code, _, errors in ends] == [(0, "")] * len(processes), ends
    return [json.loads(output) for _, output, _ in ends]


def start_table(path):
    table = build_rank_table("127.0.0.1", {4: "192.168.0.1", 5: "192.168.0.2"})
    path.write_text(table.model_dump_json())
    common = os.environ | {"RANK_TABLE_FILE": str(path), "MASTER_PORT": str(free_port())}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return [
        subprocess.Popen(COMMAND, env=common | {"RANK_ID": rank}, **pipes) for rank in ("0", "1")
    ]


def test_the_parts_of_a_batch_are_normalized_as_the_whole(found, alone):
    for name in ("result", "gradient"):
        together = np.concatenate([each[name] for each in found])
        np.testing.assert_allclose(together, alone[name], rtol=1e-5, atol=1e-5)


def test_statistics_and_gradients_are_those_of_the_whole_batch_on_every_rank(found, alone):
    for each in found:
        for name in ("by_scale", "by_offset", "mean", "variance"):
            np.testing.assert_allclose(each[name], alone[name], rtol=1e-5, atol=1e-5)
            assert each[name] == found[0][name]


def test_the_ranks_agree(found):
    for each in found:
        assert each["shared"] == [[0, 1, 2], [3, 4, 5]]  # those of rank 0
        assert each["greatest"] == len(found) - 1
        assert each["gathered"] == (
            [[rank] for rank in range(len(found))] if each is found[0] else []
        )
        assert each["of_first"] == {"rank": 0}
        assert each["messages"] == [1, 1, 2, 2, 3]
        assert each["sum"] == sum(range(1, len(found) + 1))


def test_strangers_are_no_ranks(monkeypatch):
    """They call the port of rank 0 before rank 1 does: one talks, one leaves, one is silent."""
    monkeypatch.setattr(distributed, "_silence", lambda: None)
    monkeypatch.setattr(distributed, "_GREETING_SECONDS", 0.2)
    monkeypatch.setattr(logger, "level", logger.level)
    port = free_port()
    envs = [RankEnv(rank=rank, world_size=2, master_port=port) for rank in (0, 1)]

    def meet(env):
        with distributed.join(env) as ranks:
            return ranks.greatest(env.rank)

    with ThreadPoolExecutor(2) as pool, ExitStack() as strangers:
        first = pool.submit(meet, envs[0])
        for words in (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"", b"silence"):
            stranger = strangers.enter_context(connect(port))
            stranger.sendall(words)
            if not words:
                stranger.close()
        assert pool.submit(meet, envs[1]).result() == first.result() == 1


def connect(port):
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port))
        except ConnectionRefusedError:
            time.sleep(0.01)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_cannot_meet_the_others_fails(monkeypatch, rank):
    monkeypatch.setattr(distributed, "_TIMEOUT_SECONDS", 0.5)
    env = RankEnv(rank=rank, world_size=2, master_port=free_port())
    with (
        pytest.raises(TransientError, match=f"rank {rank} of 2 cannot meet the others: "),
        distributed.join(env),
    ):
        pass
