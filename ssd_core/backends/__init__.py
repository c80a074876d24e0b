"""From the name of a framework to its backend: `ssd_core/backends/<name>/` is found, not listed."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pkgutil import iter_modules
from typing import get_args

from ssd_core.backends.base import Backend, Framework
from ssd_core.backends.ranks import ALONE, Nodes, Ranks, read_rank_env
from ssd_core.config import FrameworkName, Precision
from ssd_core.errors import UsageError, unknown_name

FRAMEWORKS = tuple(sorted(module.name for module in iter_modules(__path__) if module.ispkg))
"""Those with a folder here; a placement may name one that has none yet."""


def find_framework(name: str) -> Framework:
    """Import a framework and return its record, FRAMEWORK in `<name>/backend.py`.

    Raises:
        UsageError: the name is unknown, or the framework has no backend or is not installed.
    """
    if name not in FRAMEWORKS:
        if name in get_args(FrameworkName):
            others = " or ".join(f"'{other}'" for other in FRAMEWORKS)
            raise UsageError(f"framework '{name}' cannot train or detect yet; use {others}")
        raise unknown_name("framework", name, FRAMEWORKS)
    try:
        module = import_module(f"{__name__}.{name}.backend")
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise UsageError(
            f"framework '{name}' is not installed here: pip install '.[{name}]' in the checkout"
        ) from None
    framework: Framework = module.FRAMEWORK
    return framework


def open_backend(
    framework: str, device: str, precision: Precision = "auto", ranks: Ranks = ALONE
) -> Backend:
    """Return the backend of a framework on a device.

    Args:
        framework: one of FRAMEWORKS.
        device: `auto` for the best available one, or another DeviceName.
        precision: `auto` takes bf16 where the device is faster with it.
        ranks: the processes that train together, each on its own device; from `open_ranks`.

    Raises:
        UsageError: an unknown name, or a framework or device that is not available here.
    """
    return find_framework(framework).open(device, precision, ranks)


@contextmanager
def open_ranks(framework: str) -> Iterator[Ranks]:
    """Join the other processes of this training if the environment names any.

    Raises:
        UsageError: the environment is inconsistent, or the framework is not available here.
    """
    env = read_rank_env()
    if env.world_size == 1:
        yield ALONE
        return
    with find_framework(framework).join(env) as ranks:
        yield ranks


def launch_ranks(framework: str, words: Sequence[str], nodes: Nodes) -> int:
    """Run an `ssd` command once per device of this machine and return its exit code.

    Args:
        framework: the framework that the command runs in.
        words: the command without `ssd`.
        nodes: the machines and devices that take part.

    Raises:
        UsageError: the framework is not available here, or this process is a rank already.
        StoppedError: SIGTERM or Ctrl-C; the ranks have received it too.
    """
    if read_rank_env().world_size > 1:
        raise UsageError("--num-devices starts the ranks itself: leave it out under torchrun")
    return find_framework(framework).launch(words, nodes)
