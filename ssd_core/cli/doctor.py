"""`ssd doctor`: versions, devices, limits and settings of this machine, and missing parts."""

import platform
import resource
import shutil
import tempfile
from collections.abc import Callable
from importlib.metadata import packages_distributions, version

from ssd_core import __version__
from ssd_core.cli.options import Json, print_json
from ssd_core.errors import EXTRAS, UsageError, one_line
from ssd_core.logs import format_count
from ssd_core.process.processor import count_processors, read_processor_name

_MIN_SPACE = 10**9


def doctor(as_json: Json = False) -> None:
    """Show versions, devices, limits and settings, and name the missing parts.

    Example: ssd doctor
    """
    found, problems = {}, {}
    for name, describe in _CHECKS.items():
        try:
            found[name] = describe()
        except Exception as error:  # a broken part is a result
            found[name] = problems[name] = one_line(str(error))
    if as_json:
        print_json({"found": found, "problems": list(problems)})
    else:
        for name, text in found.items():
            print(f"{name:16} {'problem: ' if name in problems else ''}{text}")
    if problems:
        raise UsageError(f"{format_count(len(problems), 'problem')}: {', '.join(problems)}")


def _packages() -> str:
    found = packages_distributions()
    return ", ".join(
        f"{name} {version(found[name][0])}" if name in found else f"no {name} (extra '{extra}')"
        for name, extra in EXTRAS.items()
    )


def _device() -> str:
    from ssd_core.backends import open_backend

    info = open_backend("torch", "auto").info
    return f"{info.device} ({info.name}), {info.precision}, {info.framework}"


def _space(path: str) -> str:
    free = shutil.disk_usage(path).free
    if free < _MIN_SPACE:
        raise UsageError(f"{path} has only {free / 1e6:.0f} MB left; free some, or set TMPDIR")
    return f"{path}, {free / 1e9:.1f} GB free"


def _open_files() -> str:
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= limit < 256:
        raise UsageError(f"at most {limit}; raise it with ulimit -n 1024")
    return f"at most {limit}"


def _store() -> str:
    from ssd_core.store.s3.settings import read_settings

    settings = read_settings()
    return f"{settings.endpoint}, region {settings.region or 'unknown'}"


_CHECKS: dict[str, Callable[[], str]] = {
    "ssd-core": lambda: f"{__version__}, Python {platform.python_version()}",
    "system": lambda: f"{platform.system()} {platform.release()} {platform.machine()}",
    "processor": lambda: f"{read_processor_name()}, {count_processors()} processors",
    "packages": _packages,
    "device": _device,
    "temporary files": lambda: _space(tempfile.gettempdir()),
    "shared memory": lambda: f"/dev/shm, {shutil.disk_usage('/dev/shm').free / 1e9:.1f} GB free",
    "open files": _open_files,
    "S3": _store,
}
