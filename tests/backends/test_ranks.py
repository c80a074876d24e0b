"""Ranks from the environment."""

import pytest

from ssd_core.backends import open_ranks
from ssd_core.backends.ranks import ALONE, Nodes, RankPlace, read_rank_place
from ssd_core.errors import UsageError

PLACE = {
    "RANK": "5",
    "WORLD_SIZE": "8",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "4",
    "MASTER_ADDR": "node0",
    "MASTER_PORT": "29500",
}


@pytest.fixture
def environment(monkeypatch):
    """Set what torchrun sets, and return what changes it."""

    def change(**changes: str | None) -> None:
        for name, value in (PLACE | changes).items():
            if value is None:
                monkeypatch.delenv(name, raising=False)
            else:
                monkeypatch.setenv(name, value)

    return change


def test_the_place_is_that_of_torchrun(environment):
    environment()
    assert read_rank_place() == RankPlace(5, 8, 1, 4)


def test_without_torchrun_there_is_one_process(environment):
    environment(**dict.fromkeys(PLACE))
    assert read_rank_place().world_size == 1
    with open_ranks("torch") as ranks:
        assert ranks is ALONE


def test_alone_the_first_is_the_only_one():
    assert ALONE.greatest(7) == 7
    assert ALONE.on_first(lambda: "done") == "done"
    assert (ALONE.rank, ALONE.world_size) == (0, 1)


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
def test_a_wrong_environment_is_named(environment, changes, message):
    environment(**changes)
    with pytest.raises(UsageError, match=message):
        read_rank_place()


@pytest.mark.parametrize(
    ("framework", "message"),
    [
        ("mindspore", "'mindspore' cannot train or detect yet; use 'torch'"),
        ("tourch", "unknown framework 'tourch'; did you mean 'torch'"),
    ],
)
def test_a_framework_without_ranks_says_so(environment, framework, message):
    environment()
    with pytest.raises(UsageError, match=message), open_ranks(framework):
        pass


def test_the_number_of_a_machine_is_below_their_count():
    assert Nodes(num_devices=4, nnodes=2, node_rank=1).world_size == 8
    with pytest.raises(UsageError, match="--node-rank is 2, expected 0..1 of 2 machines"):
        Nodes(num_devices=1, nnodes=2, node_rank=2)
