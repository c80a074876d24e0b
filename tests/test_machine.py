"""The devices and the network interface that a command chooses for its processes."""

import os
import re

import pytest

from ssd_core.errors import UsageError
from ssd_core.process.machine import show_devices, use_address

LOOPBACK = {
    "GLOO_SOCKET_IFNAME": "lo",
    "NCCL_SOCKET_IFNAME": "lo",
    "HCCL_SOCKET_IFNAME": "lo",
    "HCCL_IF_IP": "127.0.0.1",
}


@pytest.mark.parametrize(
    ("device", "numbers", "before", "after"),
    [
        ("cuda", (0, 1), {}, {"CUDA_VISIBLE_DEVICES": "0,1"}),
        ("cuda", (5, 4), {"CUDA_VISIBLE_DEVICES": "4,5,6"}, {"CUDA_VISIBLE_DEVICES": "5,4"}),
        ("npu", (7,), {}, {"ASCEND_RT_VISIBLE_DEVICES": "7"}),
    ],
)
def test_only_the_devices_with_these_numbers_are_visible(
    monkeypatch, device, numbers, before, after
):
    monkeypatch.setattr(os, "environ", before)
    show_devices(device, numbers)
    assert before == after


@pytest.mark.parametrize(
    ("device", "visible", "message"),
    [
        ("cpu", "", "--devices numbers GPUs and NPUs, which --device cpu does not name; add"),
        ("auto", "", "which --device auto does not name; add --device cuda or --device npu, or"),
        ("cuda", "4,5", "device 0 of --devices is hidden by CUDA_VISIBLE_DEVICES=4,5; choose"),
    ],
)
def test_devices_without_numbers_and_hidden_ones_are_refused(monkeypatch, device, visible, message):
    monkeypatch.setattr(os, "environ", {"CUDA_VISIBLE_DEVICES": visible})
    with pytest.raises(UsageError, match=re.escape(message)):
        show_devices(device, (0,))


@pytest.mark.parametrize("before", [{}, {"NCCL_SOCKET_IFNAME": "=lo"}])
def test_ranks_talk_through_the_interface_of_the_address(monkeypatch, before):
    monkeypatch.setattr(os, "environ", dict(before))
    use_address("localhost")
    assert os.environ == LOOPBACK | before


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("127.0.0.1", "GLOO_SOCKET_IFNAME is 'eth9', but --local-addr 127.0.0.1 needs 'lo'; unset"),
        ("192.0.2.1", "--local-addr 192.0.2.1 is not an address of this machine; it has "),
        (
            "nowhere.invalid",
            "--local-addr nowhere.invalid is not an address of this machine; it has ",
        ),
    ],
)
def test_another_interface_or_address_is_refused(monkeypatch, address, message):
    monkeypatch.setattr(os, "environ", {"GLOO_SOCKET_IFNAME": "eth9"})
    with pytest.raises(UsageError, match=re.escape(message)):
        use_address(address)
