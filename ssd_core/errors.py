"""All errors that users can get, as one tree; each class has the exit code of the command.

    SsdError                      base class, not raised itself
    ├── CrashedError        1     a process of ours elsewhere ended with a bug; see its log
    ├── UsageError          2     a wrong argument: option, key, value, name
    │   └── OwnershipError  2     the directory belongs to something else
    ├── DataError           3     a data set, shard or model directory is invalid
    ├── DivergedError       3     the training loss is no longer finite
    ├── GateError           3     a required accuracy or speed was not reached
    ├── RunFailedError      3     a run on a cluster failed; see the log of its step
    ├── SurroundingsError  75     a rerun may succeed: disk full, store away, stall
    └── StoppedError  130, 143    Ctrl-C or SIGTERM, after the work so far was saved

A message is one line: location, problem, expectation. Any other exception is a bug, and ends with
exit code 1.
"""

import difflib
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple


def one_line(text: str) -> str:
    """Escape a text for a message: names in data may contain line breaks and terminal codes."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)


class SsdError(Exception):
    """Base class of all errors that are not bugs; `exit_code` is that of the command."""

    exit_code = 1

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


class CrashedError(SsdError):
    """A process of ours that runs elsewhere ended with a bug; its log has the traceback."""


class UsageError(SsdError):
    """An argument is wrong: an option, a configuration key or value, an unknown name."""

    exit_code = 2


class OwnershipError(UsageError):
    """The directory already belongs to something else, for example to another training run."""


class DataError(SsdError):
    """The data is invalid: annotations, images, shards, or a model directory."""

    exit_code = 3


class DivergedError(SsdError):
    """The training loss is no longer finite."""

    exit_code = 3


class GateError(SsdError):
    """A required accuracy or speed was not reached."""

    exit_code = 3


class RunFailedError(SsdError):
    """A run on a cluster failed; the log of its step has the cause."""

    exit_code = 3


class SurroundingsError(SsdError):
    """The surroundings failed and the same command may succeed later."""

    exit_code = 75


class StoppedError(SsdError):
    """A signal stopped the command after its work was saved; the same command continues."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number


def unknown_name(what: str, name: str, known: Iterable[str]) -> UsageError:
    """Return the error for an unknown `name`, with the closest known name, else with all."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    if not close:
        return unlisted_name(what, name, names)
    return UsageError(f"unknown {what} '{name}'; did you mean '{close[0]}'?")


def unlisted_name(what: str, name: str, known: Iterable[str]) -> UsageError:
    """Return the error for an unknown `name` with all known names; a guess would mislead."""
    return UsageError(f"unknown {what} '{name}'; known: {', '.join(known) or 'none'}")


@contextmanager
def located(place: str) -> Iterator[None]:
    """Prefix the message of a DataError raised inside with `place`."""
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
