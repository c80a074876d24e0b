"""SIGTERM while a training has nothing to save: the process ends at once.

The kernel has no default action for a signal to process 1 of a container, and a handler in Python
runs only after a call outside of Python has returned: the import of a framework, or the rendezvous
of ranks, which waits for minutes. A thread does not wait.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

_saves = threading.Event()


def exit_on_sigterm() -> None:
    """End this process on SIGTERM, unless it saves its work or has ranks that do."""
    readable, writable = os.pipe()
    os.set_blocking(writable, False)
    signal.signal(signal.SIGTERM, _exit)
    signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(readable,), daemon=True).start()


@contextmanager
def saving_on_sigterm() -> Iterator[None]:
    """Leave SIGTERM to the handler of the caller during the block."""
    _saves.set()
    try:
        yield
    finally:
        _saves.clear()


def _exit(number: int, frame: FrameType | None = None) -> None:
    os._exit(128 + number)


def _watch(readable: int) -> None:
    while received := os.read(readable, 1):
        if received[0] == signal.SIGTERM and not _saves.is_set() and not _has_children():
            _exit(signal.SIGTERM)


def _has_children() -> bool:
    """Return whether this process has children; True where the system does not list them."""
    lists = list(Path("/proc/self/task").glob("*/children"))
    return not lists or any(path.read_text() for path in lists)
