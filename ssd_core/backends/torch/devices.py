"""The devices that PyTorch computes on; no other file of the backend names one.

To add a device, write one class with the surface of `Device` and name it in DEVICES.
"""

import ctypes
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, get_args

import torch

from ssd_core.config import DeviceName
from ssd_core.errors import UsageError, unlisted_name
from ssd_core.processor import count_processors, read_processor_name


class Device(Protocol):
    """One kind of hardware."""

    kind: str
    """The user's word for it."""
    name: str
    """The hardware's own name."""
    torch_device: torch.device
    is_bf16_fast: bool
    """Whether the hardware multiplies bf16 matrices faster than fp32."""

    def synchronize(self) -> None:
        """Wait until all work is done."""


class CpuDevice:
    """The processor."""

    kind = "cpu"

    def __init__(self, local_rank: int, local_world_size: int) -> None:
        self.name = read_processor_name()
        self.torch_device = torch.device("cpu")
        # Without AMX bf16 convolutions are emulated, and slower than fp32.
        self.is_bf16_fast = bool(torch.cpu.get_capabilities().get("amx_bf16", False))
        _keep_freed_memory()
        # torch counts the processors of the machine, not those of the container.
        processors = max(1, count_processors() // local_world_size)
        torch.set_num_threads(min(torch.get_num_threads(), processors))

    def synchronize(self) -> None:
        """Return at once: nothing is left running on a processor."""


class CudaDevice:
    """An NVIDIA GPU."""

    kind = "cuda"

    def __init__(self, local_rank: int, local_world_size: int) -> None:
        if torch.version.cuda is None:
            raise _not_available(self.kind, "this torch is built without CUDA")
        if not torch.cuda.is_available():
            raise _not_available(self.kind, "torch finds no NVIDIA GPU or no driver")
        if local_rank >= torch.cuda.device_count():
            raise _not_available(
                self.kind,
                f"{local_world_size} ranks need a GPU each, {torch.cuda.device_count()} found",
            )
        torch.cuda.set_device(local_rank)
        self.name = torch.cuda.get_device_name()
        self.torch_device = torch.device("cuda", torch.cuda.current_device())
        self.is_bf16_fast = torch.cuda.is_bf16_supported(including_emulation=False)
        # All batches of a run have one shape: let cuDNN measure which algorithms are fastest.
        torch.backends.cudnn.benchmark = True

    def synchronize(self) -> None:
        """Wait until all work is done."""
        torch.cuda.synchronize(self.torch_device)


DEVICES: dict[str, Callable[[int, int], Device]] = {"cpu": CpuDevice, "cuda": CudaDevice}
"""From the slowest to the best; each takes local rank and number of ranks on this machine."""

COLLECTIVES = {"cpu": "gloo", "cuda": "nccl", "npu": "hccl"}
"""The library over which the devices of several ranks sum their tensors."""


def open_device(name: str, local_rank: int = 0, local_world_size: int = 1) -> Device:
    """Return the device called `name`, or the best available one for `auto`.

    Args:
        name: `auto`, or one of DEVICES.
        local_rank: number of this process among those of this machine.
        local_world_size: number of such processes, which share the machine.

    Raises:
        UsageError: an unknown name, or a device that is not available here.
    """
    if name != "auto":
        if name not in DEVICES:
            if name in get_args(DeviceName):
                raise _not_available(name, "this program cannot compute on it with torch yet")
            # A guess, as for other names, would take a GPU for a CPU.
            raise unlisted_name("device", name, ("auto", *DEVICES))
        return DEVICES[name](local_rank, local_world_size)
    for opener in reversed(DEVICES.values()):
        try:
            return opener(local_rank, local_world_size)
        except UsageError:
            continue
    raise AssertionError("a processor is always available")


def autocast(device: Device, precision: str) -> AbstractContextManager[object]:
    """Return the context in which a network computes with `precision`: `fp32` or `bf16`."""
    return torch.autocast(
        device.torch_device.type, dtype=torch.bfloat16, enabled=precision == "bf16"
    )


@contextmanager
def explain_memory(device: Device) -> Iterator[None]:
    """Turn memory that the device refuses into an error that says what to do.

    Raises:
        UsageError: there is not enough of it for the batch that is worked on inside.
    """
    try:
        yield
    except RuntimeError as error:  # torch has no narrower class for the memory of a processor
        is_refused = isinstance(error, torch.OutOfMemoryError)
        if not (is_refused or "can't allocate memory" in str(error)):
            raise
        raise UsageError(
            f"{device.name} has not enough memory for this batch; choose a smaller batch_size or "
            "image_size, or let more devices share it"
        ) from None


def _not_available(device: str, reason: str) -> UsageError:
    return UsageError(f"device '{device}' is not available: {reason}; use --device cpu or auto")


def _keep_freed_memory() -> None:
    """Let glibc reuse freed memory: with fresh pages from the kernel a step takes a fifth longer.

    The numbers are M_MMAP_MAX and M_TRIM_THRESHOLD of malloc.h; other C libraries have no mallopt.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        set_option(-4, 0)
        set_option(-1, -1)
