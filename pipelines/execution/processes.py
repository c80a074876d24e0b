"""A shell command in a process group of its own, of which nothing stays behind."""

import math
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import IO

from ssd_core.errors import StoppedError

_TICK_SECONDS = 0.2
_GRACE_SECONDS = 20.0
"""Time for a command to save its work when the user stops it."""
_GUARD = """
exec 3<&0 </dev/null
{{ trap '' TERM; read -r _ <&3; {cleanup}; kill -KILL 0; }} >/dev/null 2>&1 &
exec 3<&-
exec {line}
"""
"""A background shell waits for the end of standard input, which the system closes even for a
parent that was killed, and then ends the whole group."""


def run_line(
    line: str,
    *,
    cleanup: str = ":",
    stdout: IO[str] | None = None,
    on_line: Callable[[str], object],
    on_tick: Callable[[], None] = lambda: None,
    on_stop: Callable[[], None] = lambda: None,
) -> int:
    """Run a shell command line, and return its exit code; negative for a signal.

    Args:
        line: one simple command.
        cleanup: shell command that runs when the line has ended, or this process has.
        stdout: standard output of the command; None for that of this process.
        on_line: called with each line of its standard error.
        on_tick: called several times per second.
        on_stop: called when the command is being stopped.

    Raises:
        KeyboardInterrupt: Ctrl-C, after the command had time to save its work.
        StoppedError: SIGTERM, likewise.
    """
    with _sigterm_raises(), _start(line, cleanup, stdout) as process:
        assert process.stdin is not None
        lines: queue.Queue[str | None] = queue.Queue()
        reader = threading.Thread(target=_read, args=(process, lines), daemon=True)
        reader.start()
        try:
            _follow(process, lines, on_line, on_tick, deadline=math.inf)
        except (KeyboardInterrupt, StoppedError):
            on_stop()
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            _follow(process, lines, on_line, on_tick, deadline=time.monotonic() + _GRACE_SECONDS)
            raise
        finally:
            process.stdin.close()
            reader.join()
            for rest in iter(lines.get_nowait, None):
                on_line(rest)
    return process.returncode


def _start(line: str, cleanup: str, stdout: IO[str] | None) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        ["sh", "-c", _GUARD.format(cleanup=cleanup, line=line)],
        stdin=subprocess.PIPE,
        stdout=stdout,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    )


def _read(process: "subprocess.Popen[str]", lines: "queue.Queue[str | None]") -> None:
    assert process.stderr is not None
    for line in process.stderr:
        lines.put(line)
    lines.put(None)


def _follow(
    process: "subprocess.Popen[str]",
    lines: "queue.Queue[str | None]",
    on_line: Callable[[str], object],
    on_tick: Callable[[], None],
    *,
    deadline: float,
) -> None:
    """Pass lines on until the command ends, or the deadline on the monotonic clock."""
    while time.monotonic() < deadline:
        on_tick()
        try:
            line = lines.get(timeout=_TICK_SECONDS)
        except queue.Empty:
            if process.poll() is not None:  # a child of the command keeps standard error open
                return
            continue
        if line is None:
            lines.put(None)
            return
        on_line(line)


@contextmanager
def _sigterm_raises() -> Iterator[None]:
    def stop(number: int, frame: object) -> None:
        raise StoppedError("stopped by SIGTERM; the same command continues", number)

    earlier = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, earlier)
