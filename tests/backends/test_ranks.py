"""Ranks from the environment, and the frameworks that join them."""

import json
import os
import shutil
import subprocess
import sys
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import ssd_core
from ssd_core.backends import open_ranks
from ssd_core.backends.ranks import ALONE, RANK_VARIABLES, Nodes, RankEnv, read_rank_env
from ssd_core.errors import DataError, UsageError

TORCHRUN = {
    "RANK": "5",
    "WORLD_SIZE": "8",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "4",
    "MASTER_ADDR": "node0",
    "MASTER_PORT": "29500",
}


MSRUN = {
    "MS_ROLE": "MS_WORKER",
    "MS_WORKER_NUM": "8",
    "MS_NODE_ID": "5",
    "MS_SCHED_HOST": "node0",
    "MS_SCHED_PORT": "8118",
    "RANK_ID": "5",
    "RANK_SIZE": "8",
    "DEVICE_ID": "1",
}
SHELL_LOOP = {"RANK_ID": "3", "RANK_SIZE": "4", "DEVICE_ID": "7", "RANK_TABLE_FILE": "TABLE"}
"""Of MindSpore's SSD, with the rank table below."""
SRUN = {
    "SLURM_JOB_ID": "33522533",
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_NTASKS": "8",
    "SLURM_PROCID": "5",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "1",
    "SLURM_JOB_NODELIST": "rack[2-3]n[07,09-11],login",
    "SLURM_TASKS_PER_NODE": "4(x2)",
}
BARE_SRUN = {  # no more than a site's wrapper passes on
    "SLURM_NTASKS": "8",
    "SLURM_PROCID": "5",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "1",
    "SLURM_NODELIST": "node0,node1",
}


@pytest.fixture
def environment(monkeypatch, tmp_path):
    """Return a function that sets the variables of ranks, and no others."""
    devices = [
        [{"device_id": number, "device_ip": f"192.168.{host}.{number}", "rank_id": rank}]
        for host, number, rank in ((0, "4", "0"), (0, "5", "1"), (1, "6", "2"), (1, "7", "3"))
    ]
    servers = [
        {"server_id": f"10.0.0.{host}", "device": sum(devices[2 * host : 2 * host + 2], [])}
        for host in (0, 1)
    ]
    table = {"version": "1.0", "server_count": "2", "server_list": servers, "status": "completed"}
    path = tmp_path / "table.json"
    path.write_text(json.dumps(table))

    def change(variables: dict[str, str], **changes: str | None) -> None:
        for name in (*RANK_VARIABLES, "RANK_TABLE_FILE", "CUDA_VISIBLE_DEVICES"):
            monkeypatch.delenv(name, raising=False)
        for name in [name for name in os.environ if name.startswith("SLURM_")]:
            monkeypatch.delenv(name)
        for name, value in (variables | changes).items():
            if value is not None:
                monkeypatch.setenv(name, str(path) if value == "TABLE" else value)

    return change


SLURM_PORT = 20000 + zlib.crc32(b"33522533 0") % 12000
WHOLE = RankEnv(
    rank=5,
    world_size=8,
    local_rank=1,
    local_world_size=4,
    device_id=1,
    master_addr="node0",
    master_port=29500,
)
FROM_TABLE = RankEnv(
    rank=3,
    world_size=4,
    local_rank=1,
    local_world_size=2,
    device_id=7,
    master_addr="10.0.0.0",
    master_port=29500,
)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        (TORCHRUN, WHOLE),
        (MSRUN, replace(WHOLE, local_world_size=8, master_port=8118)),
        (MSRUN | {"MS_LOCAL_WORKER": "4"}, replace(WHOLE, master_port=8118)),
        (SHELL_LOOP, FROM_TABLE),
        (
            SHELL_LOOP | {"MASTER_ADDR": "host0", "MASTER_PORT": "1234"},
            replace(FROM_TABLE, master_addr="host0", master_port=1234),
        ),
        ({"RANK_TABLE_FILE": "TABLE", "RANK_ID": "3"}, FROM_TABLE),
        ({"RANK_TABLE_FILE": "TABLE"}, RankEnv()),
        ({"WORLD_SIZE": "1", "RANK": "0"}, RankEnv()),
        (SRUN, replace(WHOLE, master_addr="rack2n07", master_port=SLURM_PORT)),
        (SRUN | {"MASTER_ADDR": "node0", "MASTER_PORT": "29500"}, WHOLE),
        (
            SRUN | {"CUDA_VISIBLE_DEVICES": "3", "MASTER_PORT": "1"},
            replace(WHOLE, device_id=0, master_addr="rack2n07", master_port=1),
        ),
        (BARE_SRUN | {"MASTER_PORT": "1"}, replace(WHOLE, local_world_size=8, master_port=1)),
        (
            SRUN
            | {"SLURM_JOB_NAME": "interactive", "MASTER_ADDR": "node0", "MASTER_PORT": "29500"},
            WHOLE,
        ),
        (SRUN | {"SLURM_STEP_NUM_TASKS": "1"}, RankEnv()),  # --preserve-env of an interactive step
        (SRUN | {"SLURM_STEP_ID": "", "ENVIRONMENT": "BATCH"}, RankEnv()),
        (BARE_SRUN | {"SLURM_JOB_NAME": "interactive", "SLURM_PROCID": "0"}, RankEnv()),
        ({"SLURM_NTASKS": "8", "SLURM_JOB_ID": "1"}, RankEnv()),  # salloc on a login node
        (SRUN | TORCHRUN, WHOLE),  # srun has started one torchrun per node
    ],
)
def test_ranks_are_numbered_by_the_environment(environment, variables, expected):
    environment(variables)
    assert read_rank_env() == expected


def test_the_scheduler_of_msrun_has_no_part(environment):
    environment(MSRUN, MS_ROLE="MS_SCHED")
    with pytest.raises(SystemExit) as end, open_ranks("torch"):
        pass
    assert not end.value.code


def test_a_single_process_needs_nobody(environment):
    environment({})
    with open_ranks("torch") as ranks:
        assert ranks is ALONE
    assert (ALONE.rank, ALONE.world_size, ALONE.env) == (0, 1, RankEnv())
    ALONE.connect("cpu", "gloo")
    assert ALONE.greatest(7) == 7
    assert ALONE.on_first(lambda: "done") == "done"
    array = np.ones(3)
    assert ALONE.sum(array) is array
    assert ALONE.share({"a": array})["a"] is array


@pytest.mark.parametrize(
    ("variables", "changes", "message"),
    [
        (TORCHRUN, {"RANK": "8"}, "RANK is '8', expected a number 0..7"),
        (TORCHRUN, {"RANK": "-1"}, "RANK is '-1'"),
        (TORCHRUN, {"RANK": None}, "none of RANK, MS_NODE_ID, RANK_ID is set; start the ranks"),
        (TORCHRUN, {"WORLD_SIZE": "many"}, "WORLD_SIZE is 'many'"),
        (TORCHRUN, {"MASTER_PORT": None}, "none of MASTER_PORT, MS_SCHED_PORT is set"),
        (TORCHRUN, {"MASTER_PORT": "0"}, "MASTER_PORT is '0', expected a number 1..65535"),
        (TORCHRUN, {"MASTER_ADDR": ""}, "none of MASTER_ADDR, MS_SCHED_HOST is set"),
        (TORCHRUN, {"RANK_SIZE": "4"}, "WORLD_SIZE is '8', but RANK_SIZE is '4'; unset one"),
        (MSRUN, {"RANK_ID": "4"}, "MS_NODE_ID is '5', but RANK_ID is '4'"),
        (SHELL_LOOP, {"RANK_SIZE": "8"}, "RANK_SIZE is '8', but RANK_TABLE_FILE is '4'"),
        (SHELL_LOOP, {"DEVICE_ID": "6"}, "DEVICE_ID is '6', but RANK_TABLE_FILE is '7'"),
        (SHELL_LOOP, {"RANK_TABLE_FILE": None}, "or set RANK_ID and RANK_TABLE_FILE"),
        (SRUN, {"SLURM_PROCID": "8"}, "SLURM_PROCID is '8', expected a number 0..7"),
        (SRUN, {"SLURM_LOCALID": None}, "tasks of Slurm, but none of SLURM_LOCALID is set; start"),
        (SRUN, {"SLURM_NODEID": None}, "tasks of Slurm, but none of SLURM_NODEID is set; start"),
        (
            SRUN,
            {"SLURM_JOB_NODELIST": None},
            "SLURM_JOB_NODELIST, SLURM_NODELIST is set",
        ),
        (SRUN, {"RANK": "4"}, "RANK is '4', but SLURM_PROCID is '5'; unset one of them"),
    ],
)
def test_a_wrong_variable_is_named(environment, variables, changes, message):
    environment(variables, **changes)
    with pytest.raises(UsageError, match=message):
        read_rank_env()


def test_a_rank_outside_of_the_table_is_named(environment):
    environment(SHELL_LOOP, RANK_ID="4", RANK_SIZE=None)
    with pytest.raises(DataError, match="RANK_ID is '4', but the rank table has the ranks 0..3"):
        read_rank_env()


def test_a_framework_without_a_folder_is_refused(environment):
    environment(TORCHRUN)
    with pytest.raises(UsageError, match="unknown framework 'tourch'"), open_ranks("tourch"):
        pass


def test_a_new_folder_is_a_new_framework(tmp_path):
    package = tmp_path / "ssd_core"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(ssd_core.__file__).parent, package, ignore=ignored)
    folder = package / "backends" / "other"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "backend.py").write_text(
        "from ssd_core.backends.base import Framework\n"
        "FRAMEWORK = Framework(open=lambda *words: words[:2], join=None, exporters={})\n"
    )
    metadata = tmp_path / "other-1.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text("Metadata-Version: 2.1\nName: other\nVersion: 1\n")
    program = "from ssd_core.backends import *; print(open_backend(FRAMEWORKS[1], 'cpu'))"
    output = subprocess.check_output([sys.executable, "-c", program], cwd=tmp_path, text=True)
    assert output == "('cpu', 'auto')\n"


def test_the_number_of_a_machine_is_below_their_count():
    assert Nodes(num_devices=4, nnodes=2, node_rank=1).world_size == 8
    with pytest.raises(UsageError, match="--node-rank is 2, expected 0..1 of 2 machines"):
        Nodes(num_devices=1, nnodes=2, node_rank=2)
