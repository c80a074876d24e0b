"""Ranks from the environment, and the frameworks that join them."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import ssd_core
from ssd_core.backends import open_ranks
from ssd_core.backends.ranks import ALONE, Nodes, RankEnv, read_rank_env
from ssd_core.errors import UsageError

TORCHRUN = {
    "RANK": "5",
    "WORLD_SIZE": "8",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "4",
    "MASTER_ADDR": "node0",
    "MASTER_PORT": "29500",
}


@pytest.fixture
def environment(monkeypatch):
    """Return a function that sets torchrun's variables, with changes."""

    def change(**changes: str | None) -> None:
        for name, value in (TORCHRUN | changes).items():
            if value is None:
                monkeypatch.delenv(name, raising=False)
            else:
                monkeypatch.setenv(name, value)

    return change


def test_ranks_are_numbered_by_torchrun(environment):
    environment()
    assert read_rank_env() == RankEnv(rank=5, world_size=8, local_rank=1, local_world_size=4)


def test_a_single_process_needs_nobody(environment):
    environment(**dict.fromkeys(TORCHRUN))
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
    ("changes", "message"),
    [
        ({"RANK": "8"}, "RANK is '8', expected a number 0..7"),
        ({"RANK": "-1"}, "RANK is '-1'"),
        ({"RANK": None}, "RANK is ''"),
        ({"WORLD_SIZE": "many"}, "WORLD_SIZE is 'many'"),
        ({"MASTER_PORT": None}, "WORLD_SIZE is 8, but MASTER_PORT is not set"),
        ({"MASTER_ADDR": ""}, "WORLD_SIZE is 8, but MASTER_ADDR is not set"),
    ],
)
def test_a_wrong_variable_is_named(environment, changes, message):
    environment(**changes)
    with pytest.raises(UsageError, match=message):
        read_rank_env()


def test_a_framework_without_a_folder_is_refused(environment):
    environment()
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
        "FRAMEWORK = Framework(open=lambda *words: words[:2], join=None, launch=None)\n"
    )
    program = "from ssd_core.backends import *; print(open_backend(FRAMEWORKS[1], 'cpu'))"
    output = subprocess.check_output([sys.executable, "-c", program], cwd=tmp_path, text=True)
    assert output == "('cpu', 'auto')\n"


def test_the_number_of_a_machine_is_below_their_count():
    assert Nodes(num_devices=4, nnodes=2, node_rank=1).world_size == 8
    with pytest.raises(UsageError, match="--node-rank is 2, expected 0..1 of 2 machines"):
        Nodes(num_devices=1, nnodes=2, node_rank=2)
