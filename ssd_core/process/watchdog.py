"""A watchdog: a process that stalls writes the stacks of its threads and ends with exit code 75.

A hanging device, disk or library raises no error, and its process would occupy a machine forever.
"""

import faulthandler
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ssd_core.errors import TransientError, UsageError, report_error

_STDERR = 2
_DEFAULT_MINUTES = "30"
_last = 0.0
"""Time of the last progress of this process."""
_num_waits = 0
"""Blocks of `waiting` that this process is in."""
_occasion = ""
"""The event that this process waits for, as the end of a sentence."""


def beat() -> None:
    """Note that this process makes progress; cheap enough for every item."""
    global _last
    _last = time.monotonic()


@contextmanager
def waiting() -> Iterator[None]:
    """Do not count the time of the block, which waits for a process with a watchdog of its own."""
    global _num_waits
    _num_waits += 1
    try:
        yield
    finally:
        _num_waits -= 1
        beat()


@contextmanager
def expecting(whom: str) -> Iterator[None]:
    """Name those that the block waits for, if it stalls: their work is what hangs."""
    global _occasion
    _occasion = f" while it waited for {whom}"
    try:
        yield
    finally:
        _occasion = ""


@contextmanager
def watch() -> Iterator[None]:
    """End this process if nothing calls `beat` for SSD_STALL_MINUTES.

    Raises:
        UsageError: SSD_STALL_MINUTES is not a number.
    """
    seconds = 60 * _read_minutes()
    ended = threading.Event()
    beat()
    if seconds:
        threading.Thread(target=_watch, args=(seconds, ended), name="watchdog", daemon=True).start()
    try:
        yield
    finally:
        ended.set()


def _read_minutes() -> float:
    text = os.environ.get("SSD_STALL_MINUTES") or _DEFAULT_MINUTES
    try:
        minutes = float(text)
    except ValueError:
        minutes = -1
    if not 0 <= minutes < float("inf"):
        raise UsageError(
            f"SSD_STALL_MINUTES is '{text}'; expected a number of minutes, or 0 for no limit"
        )
    return minutes


def _watch(seconds: float, ended: threading.Event) -> None:
    # The idle time is counted in slices: while the process is stopped, only one of them passes.
    # What a busy machine lets its threads wait for a processor is not their idle time either.
    part = min(seconds / 10, 10.0)
    idle, seen, queued = 0.0, _last, _queued_seconds()
    while not ended.wait(part):
        before, queued = queued, _queued_seconds()
        slice_idle = max(0.0, part - max(0.0, queued - before))
        idle = idle + slice_idle if seen == _last and not _num_waits else 0.0
        seen = _last
        if idle >= seconds:
            _end(seconds)


def _queued_seconds() -> float:
    """Return how long the threads of this process have been ready to run, but did not."""
    total = 0
    for path in Path("/proc/self/task").glob("*/schedstat"):
        with suppress(OSError):  # the thread has ended
            total += int(path.read_text().split()[1])
    return total / 1e9


def _end(seconds: float) -> None:
    faulthandler.dump_traceback(file=_STDERR)
    error = TransientError(
        f"no progress for {seconds / 60:g} minutes{_occasion}: the stacks above show where; repeat "
        "the command, or raise SSD_STALL_MINUTES"
    )
    report_error(error, error.exit_code)
    os._exit(error.exit_code)  # the main thread may never return
