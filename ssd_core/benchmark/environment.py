"""The environment of a measurement: without it a number of images per second means nothing."""

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version

from ssd_core import __version__
from ssd_core.backends.base import DeviceInfo
from ssd_core.process.processor import (
    count_processors,
    read_drivers,
    read_governor,
    read_processor_name,
)

_LIBRARIES = ("numpy", "opencv-python-headless", "simplejpeg", "pillow")
_HARDWARE = ("device", "device_name", "precision", "processor", "cores")


def describe_environment(info: DeviceInfo) -> dict[str, str]:
    """Return device, processor, system and versions as flat text; unknown facts are left out."""
    return {
        "framework": info.framework,
        "device": info.device,
        "device_name": info.name,
        "precision": info.precision,
        "processor": read_processor_name(),
        "cores": str(count_processors()),
        **({"governor": governor} if (governor := read_governor()) else {}),
        **read_drivers(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "ssd-core": __version__,
        **{name: version(name) for name in _LIBRARIES},
    }


def comparable_conditions(
    environment: Mapping[str, str], batch_sizes: Sequence[int], *, network: str, images: str
) -> dict[str, str]:
    """Return the conditions under which two results are comparable: those that are equal.

    Versions are left out, since a series is there to watch their effect.

    Args:
        environment: of `describe_environment`.
        batch_sizes: those that were measured.
        network: digest of the network and its post-processing.
        images: origin of the input.
    """
    return {
        **{name: environment[name] for name in _HARDWARE},
        "framework": environment["framework"].partition(" ")[0],
        "batch_sizes": ",".join(map(str, sorted(set(batch_sizes)))),
        "network": network,
        "images": images,
    }
