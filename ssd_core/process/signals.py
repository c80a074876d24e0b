"""Signals that end a process: a training first saves its work, all else ends at once.

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
def stop_requests() -> Iterator[list[signal.Signals]]:
    """Collect SIGTERM and SIGINT, which the loop reads after each step; a second one exits at once.

    Python delivers signals to the main thread only; in any other thread the list stays empty.
    """
    received: list[signal.Signals] = []

    def note(number: int, frame: FrameType | None) -> None:
        if received:
            os._exit(128 + number)  # the default action does not end process 1 of a container
        received.append(signal.Signals(number))

    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    previous = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    _saves.set()
    try:
        yield received
    finally:
        _saves.clear()
        for number, handler in previous.items():
            signal.signal(number, handler)


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
