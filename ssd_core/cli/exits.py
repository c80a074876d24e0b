"""The end of a command: one line for errors that users can fix, a traceback for bugs."""

import errno
import logging
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperArgument, TyperGroup, TyperOption
from typer.exceptions import TyperException

from ssd_core import __version__
from ssd_core.cli.options import print_failure
from ssd_core.errors import (
    StoppedError,
    TransientError,
    UsageError,
    closest_name,
    explain,
    one_line,
    report_error,
)
from ssd_core.logs import RESULT, common_options, logger

EPILOG = (
    "Every command also takes --quiet (results and warnings only), --verbose, and --debug (the "
    "traceback of an error). Exit codes: 0 success; 1 bug; 2 invalid argument, or a path "
    "to nothing or to something else; 3 invalid or incomplete data, or failed requirement; "
    "75 temporary failure, run it again; 76 another run of the training took over; 130 and 143 "
    "stopped."
)
"""End of the help of a command line that ends with `run`."""
_LEVELS = {
    "--verbose": logging.DEBUG,
    "-v": logging.DEBUG,
    "--quiet": RESULT,
    "-q": RESULT,
}
_BUG = "this is a bug in SSD on Kubeflow; please report it with the lines above"


def _print_version(is_requested: bool) -> None:
    if is_requested:
        print(f"ssd {__version__}")
        raise typer.Exit


Version = Annotated[
    bool,
    typer.Option(
        "--version",
        callback=_print_version,
        is_eager=True,
        expose_value=False,
        help="Print the version of this program.",
    ),
]
"""An option of a whole command line, which its commands then take too."""


class Commands(TyperGroup):
    """The commands of a command line that ends with `run`."""

    def get_params(self, ctx: Any) -> Any:
        """Return the options of the command line; the help shows no type of a flag."""
        parameters = super().get_params(ctx)
        for parameter in parameters:
            if getattr(parameter, "is_flag", False):
                parameter.metavar = ""
        return parameters

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command; it takes --version, and its help shows no types."""
        command = super().get_command(ctx, cmd_name)
        if command is None:
            return None
        if not any("--version" in parameter.opts for parameter in command.params):
            command.params += [each for each in self.params if "--version" in each.opts]
        for parameter in command.get_params(ctx):
            if getattr(parameter, "is_flag", False):
                parameter.metavar = ""
            elif isinstance(parameter, TyperArgument):
                vars(parameter)["display_type_rich"] = lambda ctx: None
            elif isinstance(parameter, TyperOption) and parameter.metavar is None:
                parameter.metavar = parameter.display_type(ctx).strip("<>")
        return command

    def invoke(self, ctx: Any) -> Any:
        """Run the command; Ctrl-C is an error with a message, which typer would drop."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            message = "stopped by SIGINT; repeat the command to complete its work"
            raise StoppedError(message, signal.SIGINT) from None


def run(app: typer.Typer) -> NoReturn:
    """Run the command line and exit with the code that `errors.py` assigns to the outcome."""
    exit_code = 0
    is_debugging = _take_common_options()
    try:
        with _guarded_output():
            returned = app(standalone_mode=False)
        exit_code = returned if isinstance(returned, int) else 0
        if exit_code:
            _print_failure("a process of this command failed; see its error", exit_code)
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
        if explained is not error:  # memory may be short, so that libraries crash at a normal end
            os._exit(explained.exit_code)
        sys.exit(explained.exit_code)
    sys.exit(exit_code)


def _report(message: object, exit_code: int, *, cause: str | None = None) -> None:
    report_error(message, exit_code, cause=cause)
    _print_failure(message, exit_code)


def _print_failure(message: object, exit_code: int) -> None:
    if "--json" in sys.argv:
        with suppress(OSError, UsageError):  # of the output, and of the variables of ranks
            print_failure(message, exit_code)
            sys.stdout.flush()


def _take_common_options() -> bool:
    """Remove the options that every command takes, set the level, return whether to debug."""
    end = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    given = {word for word in sys.argv[:end] if word in {"--debug", *_LEVELS}}
    sys.argv[:end] = [word for word in sys.argv[:end] if word not in given]
    common_options[:] = sorted(given)
    logger.setLevel(min((_LEVELS[word] for word in given & set(_LEVELS)), default=logging.INFO))
    return "--debug" in given


@contextmanager
def _guarded_output() -> Iterator[None]:
    """End quietly when the reader of the output has gone, and with one line on a full disk."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        _abandon_output()
        sys.exit(128 + signal.SIGPIPE)
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # click has caught it
            _abandon_output()
            sys.exit(128 + signal.SIGPIPE)
        raise
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EIO} or error.filename is not None:
            raise
        _abandon_output()
        reason = os.strerror(error.errno).lower()
        raise TransientError(f"standard output: {reason}; write it elsewhere") from None


def _abandon_output() -> None:
    """Discard the rest, which Python would otherwise write again at its end, in vain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _explain(error: TyperException) -> str:
    """Return typer's error message as one line in our style."""
    message = error.format_message().replace("Value error, ", "").removesuffix(".")
    message = message.replace(": Input should", ": input should")
    context = getattr(error, "ctx", None)
    option = getattr(error, "option_name", None)
    if context and option and hasattr(error, "possibilities"):
        message = f"no such option: {option}{_suggest(option, context.command)}"
    hint = f" (see '{context.command_path} --help')" if context else ""
    return one_line(f"{message[:1].lower()}{message[1:]}{hint}")


def _suggest(option: str, command: Any) -> str:
    """Return a hint at the option that is meant; typer's own hints are often far-fetched."""
    known = {_bare(each): each for parameter in command.params for each in parameter.opts}
    close = closest_name(_bare(option), known)
    return f"; did you mean '{known[close]}'?" if close else ""


def _bare(option: str) -> str:
    return option.lstrip("-").replace("-", "_")
