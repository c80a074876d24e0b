"""The steps of a local run: a list redrawn on a terminal, elsewhere lines of news."""

import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import TextIO

from ssd_core.logs import format_duration

_NAME_WIDTH = 14
_TIME_WIDTH = 5


class State(Enum):
    """State of a step; the value is its mark in the list."""

    WAITING = "·"
    RUNNING = "▸"
    DONE = "✓"
    FAILED = "✗"


@dataclass(slots=True)
class Row:
    """One step; times are in seconds on the monotonic clock."""

    name: str
    state: State = State.WAITING
    begun: float = 0.0
    ended: float = 0.0
    text: str = ""
    """The last line of its log; of a finished step its results."""


class LiveList:
    """Shows the rows on a stream, whenever they are changed or drawn."""

    def __init__(self, names: Iterable[str], stream: TextIO) -> None:
        self.rows = {name: Row(name) for name in names}
        self._stream = stream
        self._height = 0
        self._shown: dict[str, tuple[State, str]] = {}

    def begin(self, name: str) -> None:
        """Mark a step as running."""
        row = self.rows[name]
        row.state, row.begun, row.text = State.RUNNING, time.monotonic(), "begins"
        self.draw()

    def end(self, name: str, state: State, text: str) -> None:
        """Mark a step as done or failed; the reason of a failure is left to the last line."""
        row = self.rows[name]
        row.state, row.ended, row.text = state, time.monotonic(), text
        self.draw()

    def draw(self) -> None:
        """Show the current state; on a terminal the clocks go on."""
        if self._stream.isatty():
            self._draw_list(time.monotonic())
        else:
            self._write_news()
        self._stream.flush()

    def _draw_list(self, now: float) -> None:
        width = shutil.get_terminal_size().columns - 1
        lines = [_shorten(_format_row(row, now), width) for row in self.rows.values()]
        up = f"\x1b[{self._height}F" if self._height else ""
        self._stream.write(up + "".join(f"{line}\x1b[K\n" for line in lines) + "\x1b[J")
        self._height = len(lines)

    def _write_news(self) -> None:
        for row in self.rows.values():
            if self._shown.get(row.name, (State.WAITING, "")) != (row.state, row.text):
                self._shown[row.name] = (row.state, row.text)
                self._stream.write(f"{row.name}: {_news(row)}\n")


def _format_row(row: Row, now: float) -> str:
    if row.state is State.WAITING:
        return f"{row.state.value} {row.name}"
    seconds = (now if row.state is State.RUNNING else row.ended) - row.begun
    line = f"{row.state.value} {row.name:<{_NAME_WIDTH}} {_format_clock(seconds):>{_TIME_WIDTH}}"
    return f"{line}  {row.text}".rstrip()


def _format_clock(seconds: float) -> str:
    """Write a duration as `0:42` or `2:03:05`."""
    hours, rest = divmod(int(seconds), 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"


def _shorten(line: str, width: int) -> str:
    return line if len(line) <= width else f"{line[: width - 1]}…"


def _news(row: Row) -> str:
    if row.state is State.RUNNING:
        return row.text
    took = f"{row.state.name.lower()} after {format_duration(row.ended - row.begun)}"
    return f"{took}, {row.text}" if row.text else took
