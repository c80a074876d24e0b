"""The work of a pipeline step around its stage: inputs, log, exit code and outputs."""

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ssd_core import __version__
from ssd_core.config import Recipe, parse_section
from ssd_core.config.section import SectionT
from ssd_core.errors import UsageError, explain, format_error_line, unknown_name
from ssd_core.logs import LINE_SECONDS, logger, set_up_logging
from ssd_core.stages.frame import INVOCATION_FILE, RESULTS_FILE
from ssd_core.store import LocalDirectory, Location
from ssd_core.store.transfer import upload_directory

PROGRESS_VARIABLE = "SSD_PROGRESS_SECONDS"
"""Environment variable: seconds between two progress lines."""


@contextmanager
def doorway() -> Iterator[None]:
    """Log a stage to standard error, from the version to its error line, and exit with its code.

    Raises:
        SystemExit: in place of an SsdError, with its exit code.
    """
    set_up_logging(line_seconds=float(os.environ.get(PROGRESS_VARIABLE, LINE_SECONDS)))
    logger.propagate = False  # else the executor of Kubeflow Pipelines prints every record again
    logger.info("ssd-core %s", __version__)
    try:
        yield
    except Exception as error:
        explained = explain(error)
        if explained is None:
            raise
        sys.stderr.write(format_error_line(explained, explained.exit_code) + "\n")
        raise SystemExit(explained.exit_code) from None
    finally:
        logger.propagate = True
        logger.handlers.clear()


def read_section(kind: type[SectionT], recipe: Mapping[str, Any], name: str) -> SectionT:
    """Return the section `name` of a recipe; one that is absent has its defaults."""
    for key in recipe:
        if key not in Recipe.model_fields:
            raise unknown_name("section", key, Recipe.model_fields)
    return parse_section(kind, recipe.get(name, {}), name)


def find_dataset(metadata: Mapping[str, Any], path: str) -> Location:
    """Return the directory of the data set that an artifact refers to.

    Args:
        metadata: metadata of the artifact, with the `uri` of the data set.
        path: the artifact, used if the metadata has no `uri`: the JSON file that `convert` wrote,
            or a converted data set.

    Raises:
        UsageError: the artifact is neither.
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
    raise UsageError(f"{path}: not a data set; expected the output of 'convert'")


def keep_output(directory: Path, kept: Location) -> None:
    """Copy the output of a stage to the directory of its run, `results.json` last."""
    upload_directory(directory, kept, last=RESULTS_FILE)


def keep_record(directory: Path, kept: Location) -> None:
    """Copy only invocation and results, for a stage whose other outputs are kept elsewhere."""
    for name in (INVOCATION_FILE, RESULTS_FILE):
        kept.put(name, directory / name)
