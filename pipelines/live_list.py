"""What the user sees of a local run: on a terminal a list redrawn in place, elsewhere lines."""

import shutil
from collections.abc import Iterable
from typing import Protocol, TextIO

from pipelines.steps import State, Step
from ssd_core.logs import format_duration

_NAME_WIDTH = 14
_TIME_WIDTH = 5


class View(Protocol):
    """Shows the steps of a run."""

    def draw(self, steps: Iterable[Step], now: float) -> None:
        """Show how things stand; called at every change, and several times a second."""


def open_view(stream: TextIO) -> View:
    """Return the view that suits the stream."""
    return TerminalView(stream) if stream.isatty() else PlainView(stream)


class TerminalView:
    """A list redrawn in place: mark, step, time, and what it does or found."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._height = 0

    def draw(self, steps: Iterable[Step], now: float) -> None:
        """Draw the list over the last one."""
        width = shutil.get_terminal_size().columns - 1
        lines = [_shorten(_format_step(step, now), width) for step in steps]
        up = f"\x1b[{self._height}F" if self._height else ""
        self._stream.write(up + "".join(f"{line}\x1b[K\n" for line in lines) + "\x1b[J")
        self._stream.flush()
        self._height = len(lines)


class PlainView:
    """A line whenever a step begins, says something new, or ends."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._shown: dict[str, tuple[State, str]] = {}

    def draw(self, steps: Iterable[Step], now: float) -> None:
        """Write what is new."""
        for step in steps:
            shown = self._shown.get(step.name, (State.WAITING, ""))
            if shown == (step.state, step.said):
                continue
            self._shown[step.name] = (step.state, step.said)
            self._stream.write(f"{step.name}: {_news(step, now)}\n")
            self._stream.flush()


def _format_step(step: Step, now: float) -> str:
    if step.state is State.WAITING:
        return f"{step.state.value} {step.name}"
    time = _format_clock(step.seconds(now))
    line = f"{step.state.value} {step.name:<{_NAME_WIDTH}} {time:>{_TIME_WIDTH}}  {_text(step)}"
    return line.rstrip()


def _format_clock(seconds: float) -> str:
    """Write a duration as `0:42` or `2:03:05`."""
    hours, rest = divmod(int(seconds), 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"


def _shorten(line: str, width: int) -> str:
    return line if len(line) <= width else f"{line[: width - 1]}…"


def _news(step: Step, now: float) -> str:
    if step.state is State.RUNNING:
        return step.said
    took = f"{step.state.name.lower()} after {format_duration(step.seconds(now))}"
    return f"{took}, {_text(step)}" if _text(step) else took


def _text(step: Step) -> str:
    """Return what a step does or found; why it failed is the command's last word."""
    return "" if step.state is State.FAILED else step.said
