"""Options for the machine, read before a framework is loaded: devices and the network."""

import fcntl
import os
import socket
import struct
from collections.abc import Mapping, Sequence
from contextlib import suppress

from ssd_core.errors import UsageError

DEVICE_OPTIONS: Mapping[str, tuple[str, ...]] = {
    "auto": (),
    "cpu": (),
    "cuda": ("--gpus", "all"),
    "npu": ("--runtime", "ascend", "--env", "ASCEND_VISIBLE_DEVICES=0"),
}
"""Of `docker run`, for a container with the device; the last needs the Ascend Docker Runtime."""

_VISIBLE = {"cuda": "CUDA_VISIBLE_DEVICES", "npu": "ASCEND_RT_VISIBLE_DEVICES"}
"""The variable by which the driver of a kind of device hides all others."""
_INTERFACE = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME", "HCCL_SOCKET_IFNAME")
_ADDRESS = "HCCL_IF_IP"
_SIOCGIFADDR = 0x8915  # linux/sockios.h


def show_devices(device: str, numbers: Sequence[int]) -> None:
    """Let this process, and those that it starts, see these devices only, in this order.

    Raises:
        UsageError: the devices of this kind have no numbers, or one of these is hidden already.
    """
    variable = _VISIBLE.get(device)
    if variable is None:
        raise UsageError(
            f"--devices numbers GPUs and NPUs, which --device {device} does not name; add --device "
            "cuda or --device npu, or use --num-devices"
        )
    visible = os.environ.get(variable)
    for number in numbers:
        if visible is not None and str(number) not in visible.split(","):
            raise UsageError(
                f"device {number} of --devices is hidden by {variable}={visible}; choose another "
                f"one, or unset {variable}"
            )
    os.environ[variable] = ",".join(map(str, numbers))


def use_address(address: str) -> None:
    """Let the ranks that this process is or starts talk through the interface of an address.

    Raises:
        UsageError: no interface of this machine has the address, or a variable names another one.
    """
    interfaces = _find_interfaces()
    with suppress(OSError):
        address = socket.gethostbyname(address)
    if (interface := interfaces.get(address)) is None:
        known = ", ".join(f"{each} ({name})" for each, name in interfaces.items())
        raise UsageError(
            f"--local-addr {address} is not an address of this machine; it has {known}"
        )
    for variable, value in {**dict.fromkeys(_INTERFACE, interface), _ADDRESS: address}.items():
        stated = os.environ.setdefault(variable, value)
        if stated.lstrip("=") != value:
            raise UsageError(
                f"{variable} is '{stated}', but --local-addr {address} needs '{value}'; unset "
                f"{variable}"
            )


def _find_interfaces() -> dict[str, str]:
    """Return the names of the interfaces by their IPv4 addresses."""
    found = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            with suppress(OSError):  # it has no such address
                reply = fcntl.ioctl(probe, _SIOCGIFADDR, struct.pack("256s", name.encode()))
                found[socket.inet_ntoa(reply[20:24])] = name
    return found
