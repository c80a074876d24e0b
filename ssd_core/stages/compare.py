"""Compare two evaluations of the same data."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ssd_core.data.decode import decode_image
from ssd_core.errors import UsageError, located
from ssd_core.evaluation.comparison import Evaluated, check_comparable, compare_evaluations
from ssd_core.evaluation.detections_file import DETECTIONS_FILE
from ssd_core.evaluation.diagnosis import MIN_SCORE, judge_image
from ssd_core.evaluation.files import GROUND_TRUTH_FILE, join_files
from ssd_core.report import comparison
from ssd_core.report.images import AnnotatedImage, draw_boxes, take_while_small
from ssd_core.report.page import render_page
from ssd_core.stages.evaluated import open_evaluated
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
_EXPECTED = "the output of 'ssd evaluate'"
_DRAWN = 6
"""Images on the page."""


def run(a: Location, b: Location, out_dir: Location | None = None) -> Results:
    """Return how the evaluation B differs from A; of two pipeline runs also the speeds.

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
        results = compare_evaluations(*evaluated) | {"speeds": _read_speeds(a, b)}
        if folder:
            uris = [each.directory.uri for each in outputs.values()]
            pictures = take_while_small(_draw_changes(outputs["a"], evaluated, results))
            page = render_page(PAGE_FILE, comparison.content(results, uris, pictures))
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


def _read_speeds(a: Location, b: Location) -> list[dict[str, Any]]:
    """Return metrics and device of the benchmarks of two pipeline runs, if both have one."""
    steps = [step_of(each, "benchmark") for each in (a, b)]
    if not all(step.head(RESULTS_FILE) for step in steps):
        return []
    found = [read_output(step, "the output of 'ssd benchmark'").results for step in steps]
    return [
        {"device": each["environment"]["device_name"], "metrics": each["metrics"]} for each in found
    ]


def _draw_changes(
    output: StageOutput, evaluated: Sequence[Evaluated], results: Mapping[str, Any]
) -> Iterator[AnnotatedImage]:
    """Yield the images that changed most, with the objects that only A or only B found.

    There are none without the data set, or if the evaluation left out some of its images.
    """
    (images, classes), (images_b, _) = evaluated
    is_of_model = output.invocation["stage"] == "evaluate"
    reader = open_evaluated(output) if is_of_model and results["changed_images"] else None
    if reader is None or reader.num_images != len(images):
        return
    rows = [changed["row"] for changed in results["changed_images"][:_DRAWN]]
    for row, record in zip(rows, reader.read(rows), strict=True):
        truth, by_both = images[row].truth, (images[row].found, images_b[row].found)
        in_a, in_b = (
            judge_image(truth, found.select(found.scores >= MIN_SCORE), classes)[2]
            for found in by_both
        )
        with located(record.image_path):
            pixels = decode_image(record.image)
        groups = {"missed": truth.select(in_a & ~in_b), "right": truth.select(in_b & ~in_a)}
        note = f"only A {np.sum(in_a & ~in_b)}, only B {np.sum(in_b & ~in_a)}"
        yield draw_boxes(Path(record.image_path).name, pixels, groups, classes, note=note)
