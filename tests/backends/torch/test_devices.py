"""Devices of PyTorch: which are there, their precision, and copies beside the computation."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode

from ssd_core.backends.ranks import RankEnv
from ssd_core.backends.torch.devices import open_device
from ssd_core.errors import UsageError
from ssd_core.process.processor import count_processors

HAS_CUDA = torch.cuda.is_available()


def test_the_processor_is_always_available():
    device = open_device("cpu")
    assert (device.torch_device.type, device.collectives) == ("cpu", "gloo")
    assert device.name
    assert torch.get_num_threads() <= count_processors()
    device.synchronize()


def test_auto_takes_a_gpu_where_there_is_one():
    assert open_device("auto").torch_device.type == ("cuda" if HAS_CUDA else "cpu")


@pytest.mark.parametrize(
    ("kind", "reason"),
    [("cuda", "(this torch|torch finds) .*"), ("npu", "torch_npu is not installed")],
)
def test_a_missing_device_is_refused_with_the_reason(kind, reason):
    if kind == "cuda" and HAS_CUDA:
        pytest.skip("an NVIDIA GPU is available")
    message = f"^device '{kind}' is not available: {reason}; use --device cpu or auto"
    with pytest.raises(UsageError, match=message):
        open_device(kind)


@pytest.mark.cuda
@pytest.mark.skipif(not HAS_CUDA, reason="no NVIDIA GPU is available")
def test_a_gpu_computes_and_copies():
    device = open_device("cuda")
    assert device.collectives == "nccl"
    assert device.copy(torch.ones(2).numpy()).device == device.torch_device


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)],
)
def test_autocast_computes_in_the_precision(precision, dtype):
    with open_device("cpu").autocast(precision):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype


def test_the_instructions_of_the_processor_decide_its_precision():
    flags = Path("/proc/cpuinfo").read_text().split()
    emulated = {
        kind for kind in ("bf16", "fp16") if not {f"avx512_{kind}", f"amx_{kind}"} & {*flags}
    }
    device = open_device("cpu")
    assert {*device.emulated_precisions} == emulated
    assert device.auto_precision == ("fp32" if "bf16" in emulated else "bf16")


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({}, "5000"),
        ({"GOMP_SPINCOUNT": "7"}, "7"),
        ({"OMP_WAIT_POLICY": "active"}, "None"),
    ],
)
def test_waiting_threads_spin_briefly_unless_the_user_decides(chosen, expected):
    names = {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"}
    environment = {key: text for key, text in os.environ.items() if key not in names} | chosen
    code = "import os, ssd_core.backends.torch; print(os.environ.get('GOMP_SPINCOUNT'))"
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == expected


def test_ranks_share_the_processors_of_a_machine():
    before = torch.get_num_threads()
    try:
        open_device("cpu", RankEnv(rank=1, world_size=1000, local_rank=1, local_world_size=1000))
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


class Recorder(TorchFunctionMode):
    """Stands in for streams and pinned memory: records the requests to a device with them."""

    def __init__(self):
        super().__init__()
        self.events = []

    def __torch_function__(self, function, types, args=(), kwargs=None):
        name = getattr(function, "__name__", "")
        if name in {"pin_memory", "record_stream"}:
            self.events.append((name, *args[1:]))
            return args[0].clone()
        if name == "to":
            self.events.append((name, kwargs))
        if name == "mm":
            self.events.append(("compute",))
        return function(*args, **(kwargs or {}))

    def wait_stream(self, other):
        self.events.append(("wait", other))


class CopyStream:
    def __init__(self, events):
        self.events = events

    def __enter__(self):
        self.events.append(("copies go to the side",))

    def __exit__(self, *_):
        self.events.append(("computation goes on",))


def test_a_copy_waits_for_no_computation_and_a_computation_for_its_copy(monkeypatch):
    recorder = Recorder()
    monkeypatch.setattr(torch.accelerator, "current_stream", lambda: recorder)
    stream = CopyStream(recorder.events)
    device = replace(open_device("cpu"), copy_stream=stream)
    array = np.ones((2, 2), np.float32)
    with recorder:
        for _ in range(2):
            tensor = device.copy(array)
            array[:] += 1  # the loader fills it again
            torch.mm(tensor, tensor)
    step = [
        ("copies go to the side",),
        ("pin_memory",),
        ("to", {"non_blocking": True}),
        ("computation goes on",),
        ("wait", stream),
        ("record_stream", recorder),
        ("compute",),
    ]
    assert recorder.events == [*step, *step]
    assert tensor.tolist() == [[2, 2], [2, 2]]
