"""SIGTERM and Ctrl-C as a wish that the loop reads after each step."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stop_requests() -> Iterator[list[signal.Signals]]:
    """Collect the signals that ask to stop; the second one ends the process at once.

    Python delivers signals to the main thread only, so elsewhere the list stays empty.
    """
    received: list[signal.Signals] = []

    def note(number: int, frame: FrameType | None) -> None:
        if received:
            os._exit(128 + number)  # as process 1 of a container no default action would end us
        received.append(signal.Signals(number))

    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    previous = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
