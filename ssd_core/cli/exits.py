"""The end of a command: one line for errors that users can fix, a traceback for bugs."""

import os
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import typer
from typer.exceptions import TyperException

from ssd_core.errors import explain, format_error_line, one_line

EPILOG = (
    "Exit codes: 0 success; 1 bug; 2 invalid argument; 3 invalid data or failed requirement; 75 "
    "temporary failure, run it again; 130 and 143 stopped. Add `--debug` for the traceback of an "
    "error."
)
"""End of the help of a command line that ends with `run`."""
_TERMINATION_LOG = "SSD_TERMINATION_LOG"
"""Environment variable: path of a file for the error line of this process. The launcher of several
processes hides their exit codes."""
_BUG = "this is a bug in SSD on Kubeflow; please report it with the lines above"


def run(app: typer.Typer) -> NoReturn:
    """Run the command line and exit with the code that `errors.py` assigns to the outcome.

    Ctrl-C never reaches this function: typer returns 130.
    """
    exit_code = 0
    is_debugging = "--debug" in sys.argv
    sys.argv = [argument for argument in sys.argv if argument != "--debug"]
    try:
        returned = app(standalone_mode=False)
        exit_code = returned if isinstance(returned, int) else 0
    except TyperException as error:
        if error.format_message():  # empty after a bare command has printed its help
            _report(_explain(error), 2)
        sys.exit(2)
    except Exception as error:
        explained = explain(error)
        if explained is None or is_debugging:
            traceback.print_exc()
        if explained is None:
            _report(_BUG, 1, cause=f"{type(error).__name__}: {error}")
            sys.exit(1)
        _report(explained, explained.exit_code)
        sys.exit(explained.exit_code)
    sys.exit(exit_code)


def _explain(error: TyperException) -> str:
    """Return typer's error message as one line in our style."""
    message = error.format_message().replace("Value error, ", "").removesuffix(".")
    context = getattr(error, "ctx", None)
    hint = f" (see '{context.command_path} --help')" if context else ""
    return one_line(f"{message[:1].lower()}{message[1:]}{hint}")


def _report(message: object, exit_code: int, *, cause: str | None = None) -> None:
    """Print the error, and append it or its cause to the termination log.

    Several processes append to one log, so its first line is the first failure.
    """
    print(format_error_line(message), file=sys.stderr)
    if path := os.environ.get(_TERMINATION_LOG):
        with suppress(OSError), Path(path).open("a") as log:
            log.write(format_error_line(cause or message, exit_code) + "\n")
