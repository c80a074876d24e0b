"""Every error a user can meet, as one tree; each class carries the exit code of the command.

    SsdError                      never raised itself
    ├── CrashedError        1     a process of ours elsewhere ended with a bug; its log says more
    ├── UsageError          2     the user's words are wrong: option, key, value, name
    │   └── OwnershipError  2     the place belongs to something else
    ├── DataError           3     the data set, a shard or a model directory is wrong
    ├── DivergedError       3     the training loss is no longer finite
    ├── GateError           3     a required accuracy or speed was not reached
    ├── RunFailedError      3     a run on a cluster failed; the log of its step says why
    ├── SurroundingsError  75     a rerun may succeed: disk full, store away, stall
    └── StoppedError  130, 143    Ctrl-C or SIGTERM, after what was done was made safe

A message is one line: where, what, what was expected. Anything outside this tree is our bug, and
ends with exit code 1.
"""

import difflib
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple


def one_line(text: str) -> str:
    """Return a text for a message: names in data sets may hold line breaks and terminal codes."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)


class SsdError(Exception):
    """Base of all errors that are not bugs; `exit_code` is what the command leaves with."""

    exit_code = 1

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


class CrashedError(SsdError):
    """A process of ours that runs elsewhere ended with a bug; the trace stands in its log."""


class UsageError(SsdError):
    """The user's words are wrong: an option, a configuration key or value, an unknown name."""

    exit_code = 2


class OwnershipError(UsageError):
    """The place already belongs to something else, for example to another training run."""


class DataError(SsdError):
    """The data is wrong: annotations, images, shards, or a model directory."""

    exit_code = 3


class DivergedError(SsdError):
    """The training loss is no longer finite."""

    exit_code = 3


class GateError(SsdError):
    """A required accuracy or speed was not reached."""

    exit_code = 3


class RunFailedError(SsdError):
    """A run on a cluster failed; the log of its step says why."""

    exit_code = 3


class SurroundingsError(SsdError):
    """The surroundings failed and the same command may succeed later."""

    exit_code = 75


class StoppedError(SsdError):
    """A signal asked to stop, and what was done so far is safe; the same command continues."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number


def unknown_name(what: str, name: str, known: Iterable[str]) -> UsageError:
    """Build the error for an unknown `name`, with the closest known one, else with all."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    if not close:
        return unlisted_name(what, name, names)
    return UsageError(f"unknown {what} '{name}'; did you mean '{close[0]}'?")


def unlisted_name(what: str, name: str, known: Iterable[str]) -> UsageError:
    """Build the error for an unknown `name` with all known ones, where a guess would mislead."""
    return UsageError(f"unknown {what} '{name}'; known: {', '.join(known) or 'none'}")


@contextmanager
def located(place: str) -> Iterator[None]:
    """Put `place` before the message of a DataError that is raised inside."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{place}: {error}") from None


class ErrorLine(NamedTuple):
    """Last line of a process that failed, read by the processes around it."""

    message: str
    exit_code: int


_ERROR_LINE = re.compile(r"error: (.+) \(exit (\d+)\)")


def format_error_line(message: object, exit_code: int | None = None) -> str:
    """Return `error: <message> (exit <N>)`, without the code on a terminal, which shows it."""
    line = one_line(f"error: {message}")
    return line if exit_code is None else f"{line} (exit {exit_code})"


def parse_error_line(line: str) -> ErrorLine | None:
    """Read a line that `format_error_line` wrote; None for any other line."""
    found = _ERROR_LINE.fullmatch(line.strip())
    return ErrorLine(found[1], int(found[2])) if found else None
