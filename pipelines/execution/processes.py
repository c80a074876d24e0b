"""A shell command in its own process group, which leaves nothing behind."""

import math
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import IO

from ssd_core.errors import StoppedError

_TICK_SECONDS = 0.2
_GRACE_SECONDS = 20.0
"""Time for a command to save its work when the user stops it."""
_TAIL_LINES = 20
_GUARD = """
exec 3<&0 </dev/null
trap '' TERM
{{ read -r _ <&3; {cleanup}; kill -KILL 0; }} >/dev/null 2>&1 &
trap - TERM
exec 3<&-
exec {line}
"""
"""A background shell waits for the end of standard input, which the system closes even for a
parent that was killed, and then ends the whole group. It is born with SIGTERM ignored: on a busy
machine the signal for the group may come before its first command."""


class Listener:
    """Follows a running command; by default it passes standard error on."""

    def on_line(self, line: str) -> None:
        """Take a line of standard error."""
        sys.stderr.write(line)

    def on_tick(self) -> None:
        """Called after each line, and several times per second."""

    def on_stop(self) -> None:
        """Called when the command is being stopped."""


def run_line(
    line: str, listener: Listener, *, cleanup: str = ":", stdout: IO[str] | None = None
) -> tuple[int, Sequence[str]]:
    """Run a shell command line.

    Args:
        line: one simple command.
        listener: follows the command.
        cleanup: shell command that runs when the line has ended, or this process has.
        stdout: standard output of the command; None for that of this process.

    Returns:
        The exit code, negative for a signal, and the last lines of standard error.

    Raises:
        KeyboardInterrupt: Ctrl-C, after the command had time to save its work.
        StoppedError: SIGTERM, likewise.
    """
    script = _GUARD.format(cleanup=cleanup, line=line)
    with (
        _sigterm_raises(),
        subprocess.Popen(
            ["sh", "-c", script],
            stdin=subprocess.PIPE,
            stdout=stdout,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        ) as process,
    ):
        return _Command(process, listener).run()


class _Command:
    def __init__(self, process: "subprocess.Popen[str]", listener: Listener) -> None:
        self._process = process
        self._listener = listener
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)

    def run(self) -> tuple[int, Sequence[str]]:
        assert self._process.stdin is not None
        reader = threading.Thread(target=self._read, daemon=True)
        reader.start()
        try:
            self._follow(math.inf)
        except (KeyboardInterrupt, StoppedError):
            self._listener.on_stop()
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGTERM)
            self._follow(time.monotonic() + _GRACE_SECONDS)
            raise
        finally:
            self._process.stdin.close()
            reader.join()
            for line in iter(self._lines.get_nowait, None):
                self._pass_on(line)
        return self._process.wait(), tuple(self._tail)

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._lines.put(line)
        self._lines.put(None)

    def _follow(self, deadline: float) -> None:
        """Pass lines on until the command ends, or the deadline on the monotonic clock."""
        while time.monotonic() < deadline:
            self._listener.on_tick()
            try:
                line = self._lines.get(timeout=_TICK_SECONDS)
            except queue.Empty:
                if self._process.poll() is not None:  # a child keeps standard error open
                    return
                continue
            if line is None:
                self._lines.put(None)
                return
            self._pass_on(line)

    def _pass_on(self, line: str) -> None:
        if line.strip():
            self._tail.append(line.strip())
        self._listener.on_line(line)


@contextmanager
def _sigterm_raises() -> Iterator[None]:
    def stop(number: int, frame: object) -> None:
        raise StoppedError("stopped by SIGTERM; the same command continues", number)

    earlier = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, earlier)
