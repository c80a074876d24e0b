"""Errors for users; each class has the exit code of the command.

    SsdError                      base class
    ├── CrashedError        1     another process ended with a bug; see its log
    ├── ProcessFailedError        another process failed; the exit code is the same
    ├── UsageError          2     an invalid argument: option, key, value, name, path
    │   └── OwnershipError  2     the directory belongs to something else
    ├── DataError           3     a data set, model or output is incomplete, damaged or invalid
    ├── DivergedError       3     the training loss is no longer finite
    ├── GateError           3     a required accuracy or speed was not reached
    ├── RunFailedError      3     a run on a cluster failed; see the log of its step
    ├── TransientError  75     a rerun may succeed: disk full, store away, stall
    │   └── TakenOverError 76  another process goes on with the same training
    └── StoppedError  130, 143    Ctrl-C or SIGTERM, after the work so far was saved

A path that leads to nothing, or to something else than the argument expects, is a UsageError. A
fault inside the expected data set, model or output is a DataError.

A message is one line: location, problem, remedy. Any other exception is a bug and ends with exit
code 1.
"""

import difflib
import errno
import os
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple


def one_line(text: str) -> str:
    """Escape text for a message: names in data may contain line breaks and terminal codes."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


class SsdError(Exception):
    """Base class of all errors that are not bugs; `exit_code` is that of the command."""

    exit_code = 1

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


class CrashedError(SsdError):
    """Another process of this package ended with a bug; its log has the traceback."""


class ProcessFailedError(SsdError):
    """Another process of this package failed; this error has its exit code."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class UsageError(SsdError):
    """An argument is invalid: an option, a configuration key or value, a name, or a path."""

    exit_code = 2


class OwnershipError(UsageError):
    """The directory belongs to something else, for example to another training."""


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


class TransientError(SsdError):
    """A dependency failed; the same command may succeed later."""

    exit_code = 75


class TakenOverError(TransientError):
    """A newer attempt at the same training has taken over; this one must not be restarted."""

    exit_code = 76


class StoppedError(SsdError):
    """A signal stopped the command after it saved its work; a rerun continues."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number


_FULL = "the disk is full; free some space"
SHORTAGES = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EFBIG: _FULL,
    errno.EIO: "the disk failed: input/output error; check it",
    errno.EROFS: "a file system, perhaps /dev/shm, is read-only; make it writable",
    errno.EMFILE: "too many open files; raise the limit (ulimit -n)",
    errno.ENFILE: "too many open files on this machine; close some",
    errno.ENOMEM: "too little memory; raise the limit",
    errno.EAGAIN: "too many processes or threads; raise the limit (ulimit -u, -v, pids of the pod)",
}
"""Problem and remedy by the number of an OSError that has nothing to do with the arguments."""
_NO_MEMORY = re.compile(
    "allocate memory|unable to allocate|bad_alloc|failed to map segment|out of memory", re.I
)


EXTRAS = {
    "cv2": "detector",
    "hotcoco": "report",
    "jinja2": "report",
    "kfp": "pipelines",
    "kubernetes": "launch",
    "mindspore": "mindspore",
    "mlflow": "mlflow",
    "onnx": "export",
    "onnxruntime": "export",
    "onnxscript": "export",
    "openvino": "openvino",
    "pycocotools": "check",
    "tensorboard": "tensorboard",
    "torch": "torch",
}
"""The extra of this package that installs a module."""


def explain(error: Exception) -> SsdError | None:
    """Return the error for users, or None if the exception is a bug.

    Libraries report a lack of memory, files or threads anywhere and by any type, for example by
    the ImportError of a shared object.
    """
    if isinstance(error, SsdError):
        return error
    if isinstance(error, ModuleNotFoundError) and error.name in EXTRAS:
        is_other = error.name == "torch" and find_spec("mindspore")
        choice = "add --framework mindspore, which is; or " if is_other else ""
        return _missing_package(error.name, choice)
    cause: BaseException | None = error
    while cause is not None:
        number = cause.errno if isinstance(cause, OSError) else None
        if isinstance(cause, MemoryError) or _NO_MEMORY.search(str(cause)):
            number = errno.ENOMEM
        elif "start new thread" in str(cause):
            number = errno.EAGAIN
        if number in SHORTAGES:
            return TransientError(f"{SHORTAGES[number]} and repeat the command")
        cause = cause.__cause__ or cause.__context__
    return None


def require_package(name: str) -> None:
    """Raise the UsageError for users if a package is missing that nothing can replace."""
    if find_spec(name) is None:
        raise _missing_package(name)


def _missing_package(name: str, choice: str = "") -> UsageError:
    command = f"pip install --editable '.[{EXTRAS[name]}]'"
    if name == "mindspore":  # an environment has one framework
        command = "make setup-mindspore"
    return UsageError(f"{name} is not installed here: {choice}{command} in the checkout")


_ALIASES = {
    "batch": "batch_size",
    "bs": "batch_size",
    "epoch": "epochs",
    "gpu": "cuda",
    "lr": "learning_rate",
    "num_workers": "loader_threads",
    "wd": "weight_decay",
    "workers": "loader_threads",
}
"""Names that other programs use."""
_LIKENESS = 0.65
"""Least similarity of two names of which one may be a slip of the other."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """Return the error for an unknown `name`; it suggests the closest known name, or lists all."""
    names = sorted(known)
    if (close := closest_name(name, names)) is None:
        return unlisted_name(kind, name, names)
    return UsageError(f"unknown {kind} '{name}'; did you mean '{close}'?")


def closest_name(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that is meant, or None if none is similar.

    Names may be dotted: the last part decides, at any depth, and among equal ones the parts before.
    """
    *parents, leaf = name.split(".")
    wanted = _ALIASES.get(leaf, leaf)

    def likeness(candidate: str) -> tuple[float, int, int]:
        *others, end = candidate.split(".")
        has_word = wanted in end.split("_") or end in wanted.split("_")
        same = 1.0 if wanted == _ALIASES.get(end, end) else 0.9 if has_word else 0.0
        ratio = difflib.SequenceMatcher(None, leaf.lower(), end.lower()).ratio()
        shared = sum(map(str.__eq__, parents, others))
        return max(same, ratio), shared, -abs(len(parents) - len(others))

    best = max(known, key=likeness, default="")
    return best if best and likeness(best)[0] >= _LIKENESS else None


def unlisted_name(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """Return the error for an unknown `name` that lists all known names."""
    return UsageError(f"unknown {kind} '{name}'; known: {', '.join(known) or 'none'}")


@contextmanager
def located(location: str) -> Iterator[None]:
    """Prefix the message of a DataError raised inside with its location."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{location}: {error}") from None


@contextmanager
def remedied(remedy: str) -> Iterator[None]:
    """Add a remedy to the message of a DataError raised inside."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{error}; {remedy}") from None


class ErrorLine(NamedTuple):
    """The last line of a failed process, which its parent process parses."""

    message: str
    exit_code: int


_TERMINATION_LOG = "SSD_TERMINATION_LOG"
"""Environment variable: path of a file for the error line of this process. The launcher of several
processes hides their exit codes."""
_ERROR_LINE = re.compile(r"error: (.+) \(exit (\d+)\)")


def format_error_line(message: object, exit_code: int | None = None) -> str:
    """Return `error: <message> (exit <N>)`, or without the exit code if it is None."""
    line = one_line(f"error: {message}")
    return line if exit_code is None else f"{line} (exit {exit_code})"


def report_error(message: object, exit_code: int, *, cause: str | None = None) -> None:
    """Print the error, and append it or its cause to the termination log.

    Several processes append to one log, so its first line is the first failure.
    """
    sys.stderr.write(format_error_line(message) + "\n")
    sys.stderr.flush()
    if path := os.environ.get(_TERMINATION_LOG):
        with suppress(OSError), Path(path).open("a") as log:
            log.write(format_error_line(cause or message, exit_code) + "\n")


def parse_error_line(line: str) -> ErrorLine | None:
    """Parse a line of `format_error_line` with an exit code; return None for any other line."""
    found = _ERROR_LINE.fullmatch(line.strip())
    return ErrorLine(found[1], int(found[2])) if found else None
