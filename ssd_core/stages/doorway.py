"""The work of a pipeline step around its stage: inputs, log, exit code and outputs."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ssd_core import __version__
from ssd_core.config import Recipe, parse_section
from ssd_core.config.section import SectionT
from ssd_core.errors import explain, format_error_line, unknown_name
from ssd_core.logs import LINE_SECONDS, logger, set_up_logging
from ssd_core.process import watchdog
from ssd_core.stages.frame import Invocation, run_stage
from ssd_core.store import Location
from ssd_core.store.transfer import download_directory
from ssd_core.structures import StageResult

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
        with watchdog.watch():
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


def find_input(artifact: Any) -> Location:
    """Return the directory of an input: the place that an artifact refers to, else itself."""
    return Location.parse(artifact.metadata.get("uri") or artifact.path)


def fill_output(
    artifact: Any, out_dir: Location, result: StageResult, *, leave_out: str | None = None
) -> None:
    """Copy the output of a stage into an artifact, which also refers to it."""
    download_directory(out_dir, Path(artifact.path), leave_out=leave_out)
    artifact.metadata.update({"uri": out_dir.uri, **result.metadata})


def record_step(
    invocation: Invocation,
    record: Location,
    work: Callable[..., StageResult],
    *arguments: Any,
    **options: Any,
) -> StageResult:
    """Call the work of a step that writes elsewhere, and keep its record in the run."""
    done = run_stage(invocation, record, lambda _: asdict(work(*arguments, **options)))
    return StageResult(**done)
