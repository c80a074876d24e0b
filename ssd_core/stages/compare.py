"""Compare two evaluations of the same data."""

from pathlib import Path

from ssd_core.errors import UsageError
from ssd_core.evaluation.comparison import Evaluated, check_comparable, compare_evaluations
from ssd_core.evaluation.detections_file import DETECTIONS_FILE
from ssd_core.evaluation.files import GROUND_TRUTH_FILE, join_files
from ssd_core.report import comparison
from ssd_core.report.page import render_page
from ssd_core.stages.frame import (
    INVOCATION_FILE,
    RESULTS_FILE,
    Invocation,
    Results,
    run_stage,
)
from ssd_core.stages.outputs import StageOutput, read_output
from ssd_core.store import Location
from ssd_core.store.layout import step_of
from ssd_core.store.local import write_file

PAGE_FILE = "compare.html"
_STAGES = ("evaluate", "evaluate_files")
_EXPECTED = "the output of ssd evaluate"


def run(a: Location, b: Location, out_dir: Location | None = None) -> Results:
    """Return how the evaluation B differs from A.

    Args:
        a: output of `evaluate`, its `results.json`, or the directory of a pipeline run, which
            contains one.
        b: another one of the same images.
        out_dir: directory for `compare.html` and `results.json`; None writes nothing.

    Raises:
        UsageError: a directory holds no evaluation, or they are of different images, objects or
            classes.
        DataError: an evaluation is incomplete or damaged.
    """
    outputs = {"a": _open(a), "b": _open(b)}
    evaluated = [_read(each) for each in outputs.values()]
    check_comparable(*evaluated)

    def work(folder: Path | None = None) -> Results:
        results = compare_evaluations(*evaluated)
        if folder:
            uris = [each.directory.uri for each in outputs.values()]
            page = render_page(PAGE_FILE, comparison.content(results, uris))
            write_file(folder / PAGE_FILE, page)
        return results

    if out_dir is None:
        return work()
    inputs = {name: output.described() for name, output in outputs.items()}
    return run_stage(Invocation(stage="compare", config={}, inputs=inputs), out_dir, work)


def _open(directory: Location) -> StageOutput:
    """Open an evaluation by its directory, its `results.json` or its pipeline run."""
    if directory.name == RESULTS_FILE:
        directory = directory.parent
    step = step_of(directory, "evaluate")
    if directory.head(INVOCATION_FILE) is None and step.head(INVOCATION_FILE) is not None:
        directory = step
    output = read_output(directory, _EXPECTED)
    if (stage := output.invocation["stage"]) not in _STAGES:
        raise UsageError(f"{directory} is of stage '{stage}'; expected {_EXPECTED}")
    return output


def _read(output: StageOutput) -> Evaluated:
    images, classes = join_files(
        output.read(GROUND_TRUTH_FILE),
        output.read(DETECTIONS_FILE),
        truth_name=str(output.directory / GROUND_TRUTH_FILE),
        found_name=str(output.directory / DETECTIONS_FILE),
    )
    return images, classes
