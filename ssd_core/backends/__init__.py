"""One door turns the name of a framework and of a device into a backend."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import get_args

from ssd_core.backends.base import Backend
from ssd_core.backends.ranks import ALONE, Nodes, Ranks, read_rank_place
from ssd_core.config import FrameworkName, Precision
from ssd_core.errors import UsageError, unknown_name

FRAMEWORKS = ("torch",)
"""Those that have a backend; placements know more."""


def open_backend(
    framework: str, device: str, precision: Precision = "auto", ranks: Ranks = ALONE
) -> Backend:
    """Import `framework` and return its backend on `device`.

    Args:
        framework: one of FRAMEWORKS.
        device: `auto` for the best there is, or another DeviceName.
        precision: `auto` takes bf16 where the device is faster with it.
        ranks: those that train together, each on a device of its own; from `open_ranks`.

    Raises:
        UsageError: an unknown name, a framework that is not installed, a device that is not there.
    """
    _check_framework(framework)
    try:
        from ssd_core.backends.torch.backend import TorchBackend
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise UsageError(
            "framework 'torch' is not installed here: pip install '.[torch]' in the checkout"
        ) from None
    return TorchBackend(device, precision, ranks)


@contextmanager
def open_ranks(framework: str) -> Iterator[Ranks]:
    """Join the other processes of this training, where the environment names any.

    Raises:
        UsageError: the environment names them wrongly, or there is no such framework.
        SurroundingsError: they do not come, or one is lost.
    """
    place = read_rank_place()
    if place.world_size == 1:
        yield ALONE
        return
    _check_framework(framework)
    from ssd_core.backends.torch.distributed import join

    with join(place) as ranks:
        yield ranks


def launch_ranks(framework: str, words: Sequence[str], nodes: Nodes) -> int:
    """Run an `ssd` command once for each device of this machine, and return its exit code.

    Args:
        framework: what the command computes with.
        words: the command without `ssd`.
        nodes: the machines and devices that take part.

    Raises:
        UsageError: there is no such framework, or this process is a rank already.
        StoppedError: SIGTERM or Ctrl-C; the ranks have got it too.
    """
    if read_rank_place().world_size > 1:
        raise UsageError("--num-devices starts the ranks itself: leave it out under torchrun")
    _check_framework(framework)
    from ssd_core.backends.torch.launcher import launch

    return launch(words, nodes)


def _check_framework(framework: str) -> None:
    if framework in FRAMEWORKS:
        return
    if framework in get_args(FrameworkName):
        raise UsageError(f"framework '{framework}' cannot train or detect yet; use 'torch'")
    raise unknown_name("framework", framework, FRAMEWORKS)
