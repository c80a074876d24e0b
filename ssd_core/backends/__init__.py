"""From the name of a framework to its backend: `ssd_core/backends/<name>/` is found, not listed."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pkgutil import iter_modules

from ssd_core.backends.base import Backend, Framework
from ssd_core.backends.launcher import launch
from ssd_core.backends.ranks import ALONE, Nodes, Ranks, is_scheduler, read_rank_env
from ssd_core.config import Precision
from ssd_core.errors import UsageError, unknown_name
from ssd_core.logs import format_count, logger
from ssd_core.process import watchdog
from ssd_core.process.packages import check_version

FRAMEWORKS = tuple(sorted(module.name for module in iter_modules(__path__) if module.ispkg))


def find_framework(name: str) -> Framework:
    """Import a framework and return its record, FRAMEWORK in `<name>/backend.py`."""
    if name not in FRAMEWORKS:
        raise unknown_name("framework", name, FRAMEWORKS)
    check_version(name)
    framework: Framework = import_module(f"{__name__}.{name}.backend").FRAMEWORK
    watchdog.beat()
    return framework


def open_backend(
    framework: str, device: str, precision: Precision = "auto", ranks: Ranks = ALONE
) -> Backend:
    """Return the backend of a framework on a device; each of the `ranks` has a device of its own.

    `auto` takes the best available device, and bf16 if that has instructions for it.
    """
    return find_framework(framework).open(device, precision, ranks)


@contextmanager
def open_ranks(framework: str) -> Iterator[Ranks]:
    """Join the other processes of this training if the environment names any."""
    if is_scheduler():
        sys.exit()
    env = read_rank_env()
    if env.world_size == 1:
        yield ALONE
        return
    record = find_framework(framework)
    if env.local_rank == 0:  # once per machine
        logger.info(
            "waiting for %s at %s:%d",
            format_count(env.world_size - 1, "other rank"),
            env.master_addr,
            env.master_port,
        )
    with record.join(env) as ranks:
        yield ranks


def launch_ranks(framework: str, words: Sequence[str], nodes: Nodes) -> int:
    """Run an `ssd` command, given without `ssd`, once per device; return its exit code.

    The ranks receive SIGTERM and Ctrl-C too, and report how they were stopped.
    """
    if read_rank_env().world_size > 1:
        raise UsageError(
            "--num-devices, --devices and --nnodes start the ranks themselves: leave them out "
            "under torchrun, msrun and srun"
        )
    check_version(framework)
    with watchdog.waiting():
        return launch(words, nodes)
