"""What every step of a pipeline does around its stage: show the log, and fail with one line."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from ssd_core import __version__
from ssd_core.errors import SsdError
from ssd_core.logs import LINE_SECONDS, logger, set_up_logging

PROGRESS_VARIABLE = "SSD_PROGRESS_SECONDS"
"""Environment variable: time between two lines of progress."""


@contextmanager
def doorway() -> Iterator[None]:
    """Log to standard error while a stage runs, and end with the exit code of its error.

    The first line names the version; everything after it is the stage's. The last line of a failed
    stage is `error: where, what, what was expected (exit N)`.

    Raises:
        SystemExit: in place of an SsdError, with its exit code.
    """
    set_up_logging(line_seconds=float(os.environ.get(PROGRESS_VARIABLE, LINE_SECONDS)))
    logger.propagate = False  # the executor of Kubeflow Pipelines would print every record again
    logger.info("ssd-core %s", __version__)
    try:
        yield
    except SsdError as error:
        logger.error("%s (exit %d)", error, error.exit_code)
        raise SystemExit(error.exit_code) from None
    finally:
        logger.propagate = True
        logger.handlers.clear()
