"""Where a measurement was made: without it a number of images a second means nothing."""

import platform
from importlib.metadata import version

from ssd_core import __version__
from ssd_core.backends.base import DeviceInfo
from ssd_core.processor import count_processors, read_processor_name

_LIBRARIES = ("numpy", "opencv-python-headless", "simplejpeg", "pillow")


def describe_environment(info: DeviceInfo) -> dict[str, str]:
    """Return device, processor, system and versions as flat text."""
    return {
        "framework": info.framework,
        "device": info.device,
        "device_name": info.name,
        "precision": info.precision,
        "processor": read_processor_name(),
        "cores": str(count_processors()),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "ssd-core": __version__,
        **{name: version(name) for name in _LIBRARIES},
    }
