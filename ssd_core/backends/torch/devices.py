"""The devices that PyTorch computes on; no other file of the backend names one.

To add a device, write a function that opens it and add a row to DEVICES.
"""

import ctypes
import importlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import TypeVar

import torch
from torch import Tensor, nn

from ssd_core.backends.base import exhausted_device, missing_device, unknown_device
from ssd_core.backends.ranks import ALONE, RankEnv
from ssd_core.errors import UsageError, one_line
from ssd_core.process.processor import read_processor_name
from ssd_core.structures import Array

ModuleT = TypeVar("ModuleT", bound=nn.Module)

_HALF_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """One processor, GPU or NPU, and how torch uses it."""

    name: str
    """The hardware's own name."""
    torch_device: torch.device
    """Its type is the name that the user gives."""
    synchronize: Callable[[], None]
    """Waits until all work is done."""
    auto_precision: str
    """The precision that `auto` takes here."""
    emulated_precisions: tuple[str, ...] = ()
    """Those without instructions of their own."""
    collectives: str
    """The library that sums tensors over ranks."""
    memory_format: torch.memory_format = torch.channels_last
    """Of the network's weights."""
    has_fused_optimizers: bool = True
    has_dynamic_shapes: bool = True
    """Whether it is fast at results whose shape depends on values."""
    copy_stream: torch.Stream | None = None
    """Takes what the host copies to a device that computes on its own."""
    memory: int | None = None
    """Bytes of its own; None on a processor."""
    peak_memory: Callable[[], int | None] = lambda: None
    """Returns the most bytes that tensors have taken here; None on a processor."""

    def place(self, network: ModuleT) -> ModuleT:
        """Move a network to the device, in the memory format that is fastest there."""
        return network.to(self.torch_device).to(memory_format=self.memory_format)

    def place_to_detect(self, network: ModuleT, precision: str) -> ModuleT:
        """Place a network whose weights no longer change.

        Convolutions are stored as `autocast` would cast them in each call; the outputs are equal.
        """
        if precision in _HALF_TYPES:
            for layer in network.modules():
                if isinstance(layer, nn.Conv2d):
                    layer.to(_HALF_TYPES[precision])
        return self.place(network)

    def copy(self, array: Array) -> Tensor:
        """Return a copy on the device; on a processor it may share the array's memory.

        With a stream for copies neither the host nor the work before waits for it: it leaves from
        pinned memory, which torch reuses once it has arrived.
        """
        source = torch.from_numpy(array)
        if self.copy_stream is None:
            return source.to(self.torch_device)
        compute_stream = torch.accelerator.current_stream()
        with self.copy_stream:
            copied = source.pin_memory().to(self.torch_device, non_blocking=True)
        compute_stream.wait_stream(self.copy_stream)
        copied.record_stream(compute_stream)  # else its memory is free for the next copy too early
        return copied

    def autocast(self, precision: str) -> AbstractContextManager[object]:
        """Return the context in which a network computes in `fp32`, `bf16` or `fp16`."""
        return torch.autocast(
            self.torch_device.type,
            dtype=_HALF_TYPES.get(precision),
            enabled=precision in _HALF_TYPES,
        )

    @contextmanager
    def explain_memory(self) -> Iterator[None]:
        """Turn a refused allocation into a UsageError with a remedy."""
        try:
            yield
        except RuntimeError as error:  # torch has no narrower class for a processor's memory
            is_refused = isinstance(error, torch.OutOfMemoryError)
            if not (is_refused or "can't allocate memory" in str(error)):
                raise
            raise exhausted_device(self.name) from None


def _open_cpu(env: RankEnv) -> Device:
    _keep_freed_memory()
    # torch counts the processors of the machine, not those of the container.
    torch.set_num_threads(min(torch.get_num_threads(), env.num_processors))
    found = torch.cpu.get_capabilities()
    emulated = tuple(
        name
        for name in _HALF_TYPES
        if not (found.get(f"avx512_{name}") or found.get(f"amx_{name}"))
    )
    return Device(
        name=read_processor_name(),
        torch_device=torch.device("cpu"),
        synchronize=torch.cpu.synchronize,
        auto_precision="fp32" if "bf16" in emulated else "bf16",
        emulated_precisions=emulated,
        collectives="gloo",
    )


def _open_cuda(env: RankEnv) -> Device:
    if torch.version.cuda is None:
        raise missing_device("cuda", "this torch is built without CUDA")
    if not torch.cuda.is_available():
        raise missing_device("cuda", "torch finds no NVIDIA GPU or no driver")
    if env.device_id >= torch.cuda.device_count():
        found = torch.cuda.device_count()
        raise missing_device("cuda", f"{env.local_world_size} ranks need a GPU each, {found} found")
    torch.cuda.set_device(env.device_id)
    # All batches of a run have one shape: let cuDNN measure which algorithms are fastest.
    torch.backends.cudnn.benchmark = True
    device = torch.device("cuda", env.device_id)
    return Device(
        name=torch.cuda.get_device_name(),
        torch_device=device,
        synchronize=partial(torch.cuda.synchronize, device),
        auto_precision=(
            "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
        ),
        collectives="nccl",
        copy_stream=torch.Stream(device),
        memory=torch.cuda.get_device_properties(device).total_memory,
        peak_memory=partial(torch.cuda.max_memory_allocated, device),
    )


def _open_npu(env: RankEnv) -> Device:
    """Open an Ascend NPU; written from the sources of torch_npu 2.14, not yet run on one."""
    if find_spec("torch_npu") is None:
        raise missing_device("npu", "torch_npu is not installed")
    try:
        npu = importlib.import_module("torch_npu").npu
    except (ImportError, OSError, RuntimeError) as error:  # no CANN, or a torch with CUDA
        raise missing_device("npu", f"torch_npu cannot start, {one_line(str(error))}") from None
    if env.device_id >= npu.device_count():
        found = npu.device_count()
        raise missing_device("npu", f"{env.local_world_size} ranks need an NPU each, {found} found")
    npu.set_device(env.device_id)
    # Prebuilt kernels and plain formats: to compile a kernel takes minutes, to convert formats a
    # part of every step.
    npu.set_compile_mode(jit_compile=False)
    npu.config.allow_internal_format = False
    has_bf16 = npu.is_bf16_supported()  # from the Ascend 910B on
    return Device(
        name=npu.get_device_name(),
        torch_device=torch.device("npu", env.device_id),
        synchronize=npu.synchronize,
        # fp16 needs train.loss_scale, which is for the user to choose.
        auto_precision="bf16" if has_bf16 else "fp32",
        emulated_precisions=() if has_bf16 else ("bf16",),
        collectives="hccl",
        memory_format=torch.contiguous_format,  # torch_npu refuses channels_last
        has_fused_optimizers=False,  # older CANN computes them on the host
        has_dynamic_shapes=False,
        memory=npu.get_device_properties(env.local_rank).total_memory,
        peak_memory=npu.max_memory_allocated,
    )


DEVICES: dict[str, Callable[[RankEnv], Device]] = {
    "cpu": _open_cpu,
    "cuda": _open_cuda,
    "npu": _open_npu,
}
"""From the last to the first choice of `auto`."""


def open_device(name: str, env: RankEnv = ALONE.env) -> Device:
    """Return the device called `name`, or the best available one for `auto`.

    The processes of this machine, counted by `env`, share its devices.
    """
    if name in DEVICES:
        return DEVICES[name](env)
    if name != "auto":
        raise unknown_device(name, DEVICES)
    for opener in reversed(DEVICES.values()):
        try:
            return opener(env)
        except UsageError:
            continue
    raise AssertionError("a processor is always available")


def _keep_freed_memory() -> None:
    """Let glibc reuse freed memory: with fresh pages from the kernel a step takes a fifth longer.

    The numbers are M_MMAP_MAX and M_TRIM_THRESHOLD of malloc.h; other C libraries have no mallopt.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        set_option(-4, 0)
        set_option(-1, -1)
