"""The threads that feed a training."""

from types import SimpleNamespace

import pytest

from ssd_core.process.processor import count_processors
from ssd_core.recipes import load_recipe
from ssd_core.stages.feed import open_loader


@pytest.mark.parametrize("local_ranks", [1, 2, 1000])
def test_the_ranks_of_a_machine_share_its_processors(monkeypatch, local_ranks):
    team = {"RANK": 8, "WORLD_SIZE": 2000, "LOCAL_RANK": 0, "LOCAL_WORLD_SIZE": local_ranks}
    for name, value in (team | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": 29500}).items():
        monkeypatch.setenv(name, str(value))
    loader = open_loader(load_recipe("demo").train, SimpleNamespace(shard_rows=[1000]))
    assert loader.num_threads == max(1, count_processors() // local_ranks)


@pytest.mark.parametrize(("bound", "sharers"), [(count_processors(), 1), (0, 1000)])
def test_a_task_of_slurm_takes_the_processors_that_are_bound_to_it(monkeypatch, bound, sharers):
    task = {"PROCID": 0, "LOCALID": 0, "NODEID": 0, "STEP_NUM_TASKS": 1000, "STEP_ID": 0}
    place = {"JOB_ID": 1, "JOB_NODELIST": "node0", "CPUS_PER_TASK": bound}
    for name, value in (task | place).items():
        monkeypatch.setenv(f"SLURM_{name}", str(value))
    loader = open_loader(load_recipe("demo").train, SimpleNamespace(shard_rows=[1000]))
    assert loader.num_threads == max(1, count_processors() // sharers)
