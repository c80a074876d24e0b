"""A command line in this process, for everything but its start, its signals and its death."""

import io
import logging
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from subprocess import CompletedProcess
from typing import NoReturn

import pytest

from ssd_core.cli.app import main


def call(command: Callable[[], NoReturn], *words: str | Path) -> CompletedProcess[str]:
    """Return the output and the exit code of a command with these words, the first its name."""
    logger, out, err = logging.getLogger("ssd"), io.StringIO(), io.StringIO()
    handlers, level = logger.handlers[:], logger.level
    try:
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            patch.setattr(sys, "argv", [*map(str, words)])
            with pytest.raises(SystemExit) as ended:
                command()
    finally:
        logger.handlers[:] = handlers
        logger.setLevel(level)
    assert isinstance(ended.value.code, int)
    return CompletedProcess(words, ended.value.code, out.getvalue(), err.getvalue())


def call_ssd(*arguments: str | Path) -> CompletedProcess[str]:
    """Call `ssd`, as `run_ssd` does, without the seconds of a start."""
    return call(main, "ssd", *arguments)
