"""How a command ends: one line for what the user can mend, a trace for what only we can."""

import os
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import typer
from typer.exceptions import TyperException

from ssd_core.errors import SsdError, one_line

_TERMINATION_LOG = "SSD_TERMINATION_LOG"
"""Environment variable: a file for the last words of a process whose exit code nobody will see,
because a launcher of several processes ends in its place."""
_BUG = "this is a bug in SSD on Kubeflow; please report it with the lines above"


def run(app: typer.Typer) -> NoReturn:
    """Run the command line and leave with the exit code that `errors.py` gives to what happened.

    Ctrl-C never comes here: typer returns 130.
    """
    exit_code = 0
    is_debugging = "--debug" in sys.argv
    sys.argv = [word for word in sys.argv if word != "--debug"]
    try:
        returned = app(standalone_mode=False)
        exit_code = returned if isinstance(returned, int) else 0
    except TyperException as error:
        if error.format_message():  # none where a bare command has shown its help
            print(f"error: {_explain(error)}", file=sys.stderr)
            _leave_last_words(f"error: {_explain(error)} (exit 2)")
        sys.exit(2)
    except SsdError as error:
        if is_debugging:
            traceback.print_exc()
        print(f"error: {error}", file=sys.stderr)
        _leave_last_words(f"error: {error} (exit {error.exit_code})")
        sys.exit(error.exit_code)
    except Exception as error:  # whatever is left was not foreseen
        traceback.print_exc()
        print(f"error: {_BUG}", file=sys.stderr)
        _leave_last_words(one_line(f"error: {type(error).__name__}: {error} (exit 1)"))
        sys.exit(1)
    sys.exit(exit_code)


def _explain(error: TyperException) -> str:
    """Return what typer has against the words of a command, as one line in our manner."""
    message = error.format_message().replace("Value error, ", "").removesuffix(".")
    context = getattr(error, "ctx", None)
    hint = f" (see '{context.command_path} --help')" if context else ""
    return one_line(f"{message[:1].lower()}{message[1:]}{hint}")


def _leave_last_words(line: str) -> None:
    """Append to the termination log: of several processes the first one says what happened."""
    path = os.environ.get(_TERMINATION_LOG)
    if not path:
        return
    with suppress(OSError), Path(path).open("a") as log:
        log.write(line + "\n")
