"""What every step of a pipeline does around its stage: find data, show the log, keep the output."""

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ssd_core import __version__
from ssd_core.errors import SsdError, UsageError, format_error_line
from ssd_core.logs import LINE_SECONDS, logger, set_up_logging
from ssd_core.stages.frame import INVOCATION_FILE, RESULTS_FILE
from ssd_core.store import LocalDirectory, Location
from ssd_core.store.transfer import upload_directory

PROGRESS_VARIABLE = "SSD_PROGRESS_SECONDS"
"""Environment variable: time between two lines of progress."""


@contextmanager
def doorway() -> Iterator[None]:
    """Log to standard error while a stage runs, and end with the exit code of its error.

    The first line names the version; everything after it is the stage's. The last line of a failed
    stage is its error, see `format_error_line`.

    Raises:
        SystemExit: in place of an SsdError, with its exit code.
    """
    set_up_logging(line_seconds=float(os.environ.get(PROGRESS_VARIABLE, LINE_SECONDS)))
    logger.propagate = False  # the executor of Kubeflow Pipelines would print every record again
    logger.info("ssd-core %s", __version__)
    try:
        yield
    except SsdError as error:
        sys.stderr.write(format_error_line(error, error.exit_code) + "\n")
        raise SystemExit(error.exit_code) from None
    finally:
        logger.propagate = True
        logger.handlers.clear()


def find_dataset(metadata: Mapping[str, Any], path: str) -> Location:
    """Return where the data set lies that an artifact speaks of.

    Args:
        metadata: of the artifact; its `uri` is the place.
        path: the artifact itself: where there is no metadata, the JSON file that `convert` wrote,
            or a converted data set.

    Raises:
        UsageError: it is neither.
    """
    if isinstance(uri := metadata.get("uri"), str):
        return Location.parse(uri)
    if Path(path).is_dir():
        return LocalDirectory(Path(path))
    try:
        content = json.loads(Path(path).read_bytes())
    except (OSError, ValueError):
        content = None
    if isinstance(content, dict) and isinstance(uri := content.get("uri"), str):
        return Location.parse(uri)
    raise UsageError(f"{path}: no data set here; expected the output of 'convert'")


def keep_output(directory: Path, place: Location) -> None:
    """Copy what a stage wrote to its place in the store, `results.json` last.

    Raises:
        SurroundingsError: the store is away, or the disk is full.
    """
    upload_directory(directory, place, last=RESULTS_FILE)


def keep_record(directory: Path, place: Location) -> None:
    """Copy only what a stage was asked and what it found, where its outputs are kept elsewhere.

    Raises:
        SurroundingsError: the store is away, or the disk is full.
    """
    for name in (INVOCATION_FILE, RESULTS_FILE):
        place.put(name, directory / name)
