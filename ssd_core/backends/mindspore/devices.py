"""The devices that MindSpore computes on; no other file of the backend names one."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import mindspore as ms

from ssd_core.backends.base import exhausted_device, missing_device, unknown_device
from ssd_core.backends.ranks import ALONE, RankEnv
from ssd_core.process.processor import read_processor_name

DEVICES = {"cpu": ("CPU", "mccl"), "cuda": ("GPU", "nccl"), "npu": ("Ascend", "hccl")}
"""MindSpore's name and collective library by our name, from the last to the first choice of
`auto`."""


@dataclass(frozen=True, slots=True)
class Device:
    """The processor, GPU or NPU that this process computes on."""

    type: str
    """The name that the user gives."""
    name: str
    """The hardware's own name."""
    collectives: str
    """The library that sums tensors over ranks."""
    memory: int | None = None
    """Bytes of its own; None on a processor."""

    @contextmanager
    def explain_memory(self) -> Iterator[None]:
        """Turn a refused allocation into a UsageError with a remedy."""
        try:
            yield
        except RuntimeError as error:  # MindSpore has no narrower class
            text = str(error).lower()
            if "memory" not in text or not ("alloc" in text or "not enough" in text):
                raise
            raise exhausted_device(self.name) from None


def open_device(name: str, env: RankEnv = ALONE.env) -> Device:
    """Return the device called `name`, or the best available one for `auto`.

    The processes of this machine, counted by `env`, share its devices. Ascend and GPU are written
    from MindSpore's documentation and have not run on one yet.
    """
    if name == "auto":
        name = next(each for each in reversed(DEVICES) if ms.hal.is_available(DEVICES[each][0]))
    elif name not in DEVICES:
        raise unknown_device(name, DEVICES)
    target, collectives = DEVICES[name]
    if not ms.hal.is_available(target):
        raise missing_device(name, f"this MindSpore finds no {target} device")
    ms.set_context(mode=ms.GRAPH_MODE)
    ms.set_device(target, env.device_id if name != "cpu" else None)
    if name != "cpu":
        facts = ms.hal.get_device_properties(env.device_id, target)
        return Device(name, facts.name, collectives, facts.total_memory)
    # MindSpore counts the processors of the machine, not those of the container.
    ms.set_context(runtime_num_threads=env.num_processors)
    return Device(name, read_processor_name(), collectives)
