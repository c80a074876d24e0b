"""Lines of a training for a server, on a thread of their own: no step waits for an answer."""

import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from ssd_core.logs import logger
from ssd_core.train_log import LineListener

Line = Mapping[str, Any]
Send = Callable[[Sequence[Line]], None]
"""Takes the lines since its last call; after an error the next call may have to catch up."""


@contextmanager
def in_background(
    name: str, send: Send, *, interval: float = 0.0, timeout: float = 10.0
) -> Iterator[LineListener]:
    """Yield a listener that only queues its lines; a thread passes them to `send`.

    An error of `send` is one warning until it succeeds again.

    Args:
        name: of the receiver, for messages.
        send: takes the lines that have come meanwhile.
        interval: least seconds between two calls.
        timeout: seconds in which the last call must succeed after the interval.
    """
    lines: queue.SimpleQueue[Line | None] = queue.SimpleQueue()
    arguments = (name, lines, send, interval)
    thread = threading.Thread(target=_pass_on, args=arguments, name=name, daemon=True)
    thread.start()
    try:
        yield lines.put
    finally:
        lines.put(None)
        thread.join(interval + timeout)
        if thread.is_alive():
            logger.warning("%s does not answer; it lacks the last figures", name)


def _pass_on(
    name: str, lines: "queue.SimpleQueue[Line | None]", send: Send, interval: float
) -> None:
    """Send the lines of every interval, until None comes."""
    sent, has_failed, is_over = -interval, False, False
    while not is_over:
        batch = [lines.get()]
        time.sleep(max(0.0, sent + interval - time.monotonic()))
        with suppress(queue.Empty):
            while True:
                batch.append(lines.get_nowait())
        is_over, sent = batch[-1] is None, time.monotonic()
        known = [line for line in batch if line is not None]
        try:
            if known:
                send(known)
            has_failed = False
        except Exception as error:  # of any kind: the training goes on
            if not has_failed:
                logger.warning("%s gets no figures at present: %s", name, error)
            has_failed = True
