"""One writer at a time in the directory of a data set; the lock ends with its process."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from ssd_core.logs import logger
from ssd_core.store.local import explain_disk_errors

ABANDONED_SECONDS = 24 * 3600.0
"""Where no lock tells whether something is still being written, it counts as abandoned after this
time without a change: writers change something every few minutes."""

Held = Literal["held", "busy", "unknown"]
"""Whether the lock was taken; `unknown` where the file system cannot lock a directory."""


@contextmanager
def lock_dataset(data_dir: Path) -> Iterator[None]:
    """Hold an existing directory alone, after the end of whoever holds it now.

    Raises:
        UsageError: this user may not read it.
    """
    with _open_directory(data_dir) as descriptor:
        if _try_lock(descriptor, data_dir) == "busy":
            logger.info("%s: another conversion works here, waiting for its end", data_dir)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


@contextmanager
def try_lock(data_dir: Path) -> Iterator[Held]:
    """Hold an existing directory where nobody else does, and say so; never wait.

    Raises:
        UsageError: this user may not read it.
    """
    with _open_directory(data_dir) as descriptor:
        yield _try_lock(descriptor, data_dir)


@contextmanager
def _open_directory(data_dir: Path) -> Iterator[int]:
    with explain_disk_errors(data_dir, "read"):
        descriptor = os.open(data_dir, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int, data_dir: Path) -> Held:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return "busy"
    except OSError as error:  # some network file systems cannot lock a directory
        logger.debug("%s: cannot be locked: %s", data_dir, error.strerror)
        return "unknown"
    return "held"
