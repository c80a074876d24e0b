"""The output of commands: results, log lines, and the progress of long work."""

import logging
import math
import shutil
import sys
import time
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO

from ssd_core.process import watchdog

_REDRAW_SECONDS = 0.1
LINE_SECONDS = 10.0
"""Time between two progress lines without a terminal."""
_BAR_WIDTH = 24
_CLEAR_LINE = "\r\x1b[K"
"""Clears the current line of a terminal and returns to its start."""

RESULT = 25
"""Level of the figures for which a command was called, between INFO and WARNING."""

logger = logging.getLogger("ssd")

common_options: list[str] = []
"""Options of this command that every command takes, such as `--quiet`; its ranks get them too."""


def set_up_logging(*, prints_results: bool = False, line_seconds: float = LINE_SECONDS) -> None:
    """Send log lines to standard error; called once per command, never by the library.

    Results go to standard output if asked. A level that was set before stays, else it is INFO.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_LineFormatter(_CLEAR_LINE if sys.stderr.isatty() else ""))
    logger.handlers[:] = [handler]
    if prints_results:
        handler.addFilter(lambda record: record.levelno != RESULT)
        logger.addHandler(_ResultHandler())
    logger.setLevel(logger.level or logging.INFO)
    Progress.line_seconds = line_seconds


def announce(message: str, *values: object) -> None:
    """Log a result."""
    logger.log(RESULT, message, *values)


@contextmanager
def quiet() -> Iterator[None]:
    """Show nothing below a warning during the block, not even results."""
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


class _ResultHandler(logging.Handler):
    """Results on standard output, where a closed pipe or a full disk ends the command."""

    def __init__(self) -> None:
        super().__init__()
        self.addFilter(lambda record: record.levelno == RESULT)

    def emit(self, record: logging.LogRecord) -> None:
        sys.stdout.write(f"{record.getMessage()}\n")


class _LineFormatter(logging.Formatter):
    """Plain messages after a common prefix; warnings and errors name their level."""

    def __init__(self, prefix: str) -> None:
        super().__init__()
        self._prefix = prefix

    def format(self, record: logging.LogRecord) -> str:
        level = "" if record.levelno < logging.WARNING else f"{record.levelname.lower()}: "
        return f"{self._prefix}{level}{super().format(record)}"


class Progress:
    """Progress of long work: one redrawn line on a terminal, otherwise a line every few seconds.

    Use as a context manager; `update` is cheap enough for every item, and resets the watchdog.
    """

    line_seconds = LINE_SECONDS

    def __init__(
        self, what: str, total: int, *, done: int = 0, stream: TextIO | None = None
    ) -> None:
        self._what, self._total, self._first = what, total, done
        self._stream = stream or sys.stderr
        self._is_terminal = self._stream.isatty()
        self._started = time.monotonic()
        self._shown = self._started if not self._is_terminal else 0.0
        if logger.level > logging.INFO:
            self._shown = math.inf

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_terminal:
            self._stream.write(_CLEAR_LINE)
            self._stream.flush()

    def update(self, done: int, figures: str = "") -> None:
        """Show that `done` of the total are finished, followed by `figures`."""
        watchdog.beat()
        now = time.monotonic()
        if now - self._shown < (_REDRAW_SECONDS if self._is_terminal else self.line_seconds):
            return
        self._shown = now
        left = self._time_left(done, now)
        text = ", ".join(
            part for part in (f"{self._what} {done}/{self._total}", figures, left) if part
        )
        self._stream.write(self._bar_line(done, text) if self._is_terminal else text + "\n")
        self._stream.flush()

    def _bar_line(self, done: int, text: str) -> str:
        """Put a bar before the text if it fits: a wrapped line could not be cleared."""
        width = shutil.get_terminal_size().columns - 1
        bar_width = max(0, min(_BAR_WIDTH, width - len(text) - 1))
        filled = round(bar_width * done / max(self._total, 1))
        line = f"{'█' * filled}{'░' * (bar_width - filled)} {text}"
        return _CLEAR_LINE + line.lstrip()[:width]

    def _time_left(self, done: int, now: float) -> str:
        if done <= self._first:
            return ""
        seconds = (now - self._started) / (done - self._first) * (self._total - done)
        return f"{format_duration(seconds)} left"


def format_count(count: int, noun: str) -> str:
    """Return a number with its noun: `1 step`, `1,200 classes`."""
    plural = "es" if noun.endswith(("s", "x")) else "s"
    return f"{count:,} {noun}{plural * (count != 1)}"


def align(rows: Sequence[Sequence[str]], numbers: Container[int] = ()) -> list[str]:
    """Return one line per row with its cells in columns; flush right in those of `numbers`."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            f"{cell:{'>' if column in numbers else '<'}{width}}"
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def format_duration(seconds: float) -> str:
    """Return a duration as `42 s`, `3:05 min` or `2:03:05 h`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02}:{rest:02} h" if hours else f"{minutes}:{rest:02} min"
