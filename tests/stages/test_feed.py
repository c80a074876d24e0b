"""The threads that feed a training."""

from types import SimpleNamespace

import pytest

from ssd_core.process.processor import count_processors
from ssd_core.recipes import load_recipe
from ssd_core.stages.feed import open_loader

PROCESSORS = count_processors()


@pytest.mark.parametrize(
    ("local_ranks", "threads"), [(1, PROCESSORS), (2, max(1, PROCESSORS // 2)), (PROCESSORS, 1)]
)
def test_the_ranks_of_a_machine_share_its_processors(monkeypatch, local_ranks, threads):
    team = {"RANK": 8, "WORLD_SIZE": 8 + local_ranks, "LOCAL_RANK": 0}
    for name, value in (team | {"LOCAL_WORLD_SIZE": local_ranks}).items():
        monkeypatch.setenv(name, str(value))
    loader = open_loader(load_recipe("demo").train, SimpleNamespace(shard_rows=[1000]))
    assert loader.num_threads == threads
