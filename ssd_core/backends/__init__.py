"""One door turns the name of a framework and of a device into a backend."""

from typing import get_args

from ssd_core.backends.base import Backend
from ssd_core.config import FrameworkName, Precision
from ssd_core.errors import UsageError, unknown_name

FRAMEWORKS: tuple[str, ...] = get_args(FrameworkName)


def open_backend(framework: str, device: str, precision: Precision = "auto") -> Backend:
    """Import `framework` and return its backend on `device`.

    Args:
        framework: one of FRAMEWORKS.
        device: `auto` for the best there is, or another DeviceName.
        precision: `auto` takes bf16 where the device is faster with it.

    Raises:
        UsageError: an unknown name, a framework that is not installed, a device that is not there.
    """
    match framework:
        case "torch":
            try:
                from ssd_core.backends.torch.backend import TorchBackend
            except ModuleNotFoundError as error:
                if error.name != "torch":
                    raise
                raise UsageError(
                    "framework 'torch' is not installed here: pip install 'ssd-core[torch]'"
                ) from None
            return TorchBackend(device, precision)
        case _:
            raise unknown_name("framework", framework, FRAMEWORKS)
