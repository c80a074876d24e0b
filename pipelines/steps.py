"""The state of every step of a local run, read from the log of kfp.local."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum

from ssd_core.errors import SsdError, SurroundingsError, parse_error_line

_COLOURS = re.compile(r"\x1b\[[\d;]*m")
_BEGUN = re.compile(r"[\d:.]+ - \w+ - Executing task '([\w-]+)'")
_ENDED = re.compile(r"[\d:.]+ - \w+ - Task '([\w-]+)' finished with status (\w+)")
_STAGE_BEGUN = re.compile(r"ssd-core \S+")
_TRACEBACK = "Traceback (most recent call last):"
_KUBEFLOW = "[KFP Executor "


class State(Enum):
    """State of a step; the value is its mark in a list."""

    WAITING = "·"
    RUNNING = "▸"
    DONE = "✓"
    FAILED = "✗"


@dataclass(slots=True)
class Step:
    """One step of a run; times are on the clock of the caller, in seconds."""

    name: str
    state: State = State.WAITING
    begun: float = 0.0
    ended: float = 0.0
    said: str = ""
    """The last line of its stage; of a finished step what it found."""
    is_stage: bool = False
    """The stage has begun; what came before was said by Kubeflow Pipelines."""
    is_crashed: bool = False
    """There was a traceback."""

    def seconds(self, now: float) -> float:
        """Return how long it has run, or ran."""
        return (now if self.state is State.RUNNING else self.ended) - self.begun

    def error(self) -> SsdError:
        """Return why it failed, with the exit code of its stage."""
        if failed := parse_error_line(self.said):
            error = SsdError(f"{self.name}: {failed.message}")
            error.exit_code = failed.exit_code
            return error
        if self.is_crashed:
            return SsdError(f"{self.name} ended with a bug, please report it: {self.said}")
        return SurroundingsError(
            f"{self.name} was killed, perhaps for want of memory; the same command continues"
        )


class LogReader:
    """Follows the log of kfp.local, line by line."""

    def __init__(self, names: Iterable[str], describe: Callable[[str], str]) -> None:
        """Start with all steps waiting.

        Args:
            names: the steps in their order.
            describe: says what a step found, once it is done.
        """
        self.steps = {name: Step(name) for name in names}
        self._describe = describe
        self._running: Step | None = None

    def feed(self, line: str, now: float) -> bool:
        """Take the next line, and say whether it changed a step."""
        line = _COLOURS.sub("", line).strip()
        if begun := _BEGUN.match(line):
            self._running = self._step(begun[1])
            self._running.state, self._running.begun = State.RUNNING, now
            self._running.said = "begins"
            return True
        if ended := _ENDED.match(line):
            step = self._step(ended[1])
            step.ended, self._running = now, None
            step.state = State.DONE if ended[2] == "SUCCESS" else State.FAILED
            if step.state is State.DONE:
                step.said = self._describe(step.name)
            return True
        return self._running is not None and _hear(self._running, line)

    def note(self, text: str) -> None:
        """Let the running step say something, until it does so itself."""
        if self._running:
            self._running.said = text

    def _step(self, task: str) -> Step:
        return self.steps[task.replace("-", "_")]


def _hear(step: Step, line: str) -> bool:
    """Keep what the stage says, and leave out the lines of the executor around it."""
    step.is_crashed |= line == _TRACEBACK
    if not (step.is_stage or step.is_crashed):
        step.is_stage = bool(_STAGE_BEGUN.fullmatch(line))
        if not parse_error_line(line):  # what runs the step may fail before the stage
            return False
    if not line or line.startswith(_KUBEFLOW):
        return False
    step.said = line.removeprefix(f"{step.name}: ")
    return True
