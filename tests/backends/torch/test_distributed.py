"""Several ranks on one machine, in real processes over real sockets, against a single one."""

import json
import sys
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import torch

from ssd_core.backends import open_ranks
from ssd_core.errors import TransientError
from tests.backends.torch.norm_ranks import SHAPE, make_norm, run
from tests.rank_processes import finish_ranks, free_port, start_ranks

SCRIPT = Path(__file__).with_name("norm_ranks.py")


@pytest.fixture(scope="module", params=[1, 2, 4])
def found(request):
    """Return the output of each rank."""
    ends = finish_ranks(start_ranks([sys.executable, str(SCRIPT)], request.param))
    assert [code for code, _, _ in ends] == [0] * request.param, ends
    return [json.loads(output) for _, output, _ in ends]


@pytest.fixture(scope="module")
def alone():
    """Return the same of torch's own batch normalisation of the whole batch."""
    norm = torch.nn.BatchNorm2d(SHAPE[1]).double()
    norm.weight = make_norm().scale
    found = run(norm, 0, 1)
    return found | {
        "weight": norm.weight.grad.tolist(),
        "bias": norm.bias.grad.tolist(),
        "mean": norm.running_mean.tolist(),
        "variance": norm.running_var.tolist(),
        "a": norm.weight.tolist(),
    }


def test_the_parts_of_a_batch_are_normalized_as_the_whole(found, alone):
    for name in ("result", "gradient"):
        together = np.concatenate([each[name] for each in found])
        np.testing.assert_allclose(together, alone[name], rtol=1e-12, atol=1e-12)


def test_statistics_and_gradients_are_those_of_the_whole_batch_on_every_rank(found, alone):
    for each in found:
        for name in ("weight", "bias", "mean", "variance"):
            np.testing.assert_allclose(each[name], alone[name], rtol=1e-12, atol=1e-12)
            assert each[name] == found[0][name]


def test_gradients_are_summed_during_the_backward_pass(found):
    assert all(each["early"] == (len(found) > 1) for each in found)


def test_the_ranks_agree(found, alone):
    for each in found:
        assert each["shared"]["a"] == alone["a"]  # those of rank 0
        assert each["greatest"] == len(found) - 1
        assert each["gathered"] == (
            [[rank] for rank in range(len(found))] if each is found[0] else []
        )
        assert each["of_first"] == {"rank": 0}


def test_a_rank_that_cannot_meet_the_others_says_where_it_waits_and_fails(monkeypatch, caplog):
    caplog.set_level("INFO", logger="ssd")
    place = {"WORLD_SIZE": 2, "RANK": 1, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    for name, value in place.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr("ssd_core.backends.torch.distributed._TIMEOUT", timedelta(seconds=1))
    with (
        pytest.raises(TransientError, match="rank 1 of 2 cannot meet the others"),
        open_ranks("torch"),
    ):
        pass
    assert caplog.messages == [f"waiting for 1 other rank at 127.0.0.1:{place['MASTER_PORT']}"]
