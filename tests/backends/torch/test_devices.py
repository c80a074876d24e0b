import os
import subprocess
import sys
from typing import get_args

import pytest
import torch

from ssd_core.backends.torch.devices import COLLECTIVES, DEVICES, autocast, open_device
from ssd_core.config import DeviceName
from ssd_core.errors import UsageError
from ssd_core.processor import count_processors

has_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU here")
lacks_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="an NVIDIA GPU is here")


def test_the_processor_is_always_there():
    device = open_device("cpu")
    assert device.kind == "cpu"
    assert device.torch_device.type == "cpu"
    assert device.name
    assert torch.get_num_threads() <= count_processors()
    device.synchronize()


@lacks_cuda
def test_auto_is_the_processor_where_there_is_no_gpu():
    assert open_device("auto").kind == "cpu"


@lacks_cuda
def test_a_gpu_that_is_not_there_is_refused_with_the_reason():
    with pytest.raises(UsageError, match="^device 'cuda' is not available: .*; use --device cpu"):
        open_device("cuda")


@has_cuda
@pytest.mark.cuda
def test_auto_is_the_gpu_where_there_is_one():
    assert open_device("auto").kind == "cuda"


def test_an_unknown_device_is_refused():
    with pytest.raises(UsageError, match="unknown device 'gpu'; known: auto, cpu, cuda"):
        open_device("gpu")


def test_a_device_of_placements_that_has_no_code_here_is_no_unknown_word():
    without_code = set(get_args(DeviceName)) - {"auto", *DEVICES}
    for name in without_code:
        with pytest.raises(UsageError, match=f"^device '{name}' is not available: this program"):
            open_device(name)


@pytest.mark.parametrize(
    ("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)]
)
def test_autocast_computes_with_the_precision(precision, dtype):
    with autocast(open_device("cpu"), precision):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({}, "5000"),
        ({"GOMP_SPINCOUNT": "7"}, "7"),
        ({"OMP_WAIT_POLICY": "active"}, "None"),
    ],
)
def test_waiting_threads_spin_shortly_unless_the_user_says_otherwise(chosen, expected):
    names = {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"}
    environment = {key: text for key, text in os.environ.items() if key not in names} | chosen
    code = "import os, ssd_core.backends.torch; print(os.environ.get('GOMP_SPINCOUNT'))"
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == expected


def test_every_device_has_a_library_that_sums_over_ranks():
    assert set(DEVICES) <= set(COLLECTIVES)


def test_ranks_share_the_processors_of_a_machine():
    before = torch.get_num_threads()
    try:
        open_device("cpu", local_rank=1, local_world_size=1000)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
