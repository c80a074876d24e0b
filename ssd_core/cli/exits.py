"""How a command ends: one line for what the user can mend, a trace for what only we can."""

import sys
import traceback
from typing import NoReturn

import typer

from ssd_core.errors import SsdError

_BUG = "this is a bug in SSD on Kubeflow; please report it with the lines above"


def run(app: typer.Typer) -> NoReturn:
    """Run the command line and leave with the exit code that `errors.py` gives to what happened.

    Ctrl-C never comes here: typer ends with 130.
    """
    is_debugging = "--debug" in sys.argv
    sys.argv = [word for word in sys.argv if word != "--debug"]
    try:
        app()
    except SsdError as error:
        if is_debugging:
            traceback.print_exc()
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except Exception:  # whatever is left was not foreseen
        traceback.print_exc()
        print(f"error: {_BUG}", file=sys.stderr)
        sys.exit(1)
    sys.exit(0)
