"""Results of the steps of a run, read from the store; the cluster is not needed."""

from collections.abc import Mapping
from typing import Any

from pipelines.catalogue import STEPS
from ssd_core.config import PublishConfig, parse_section
from ssd_core.errors import GateError, UsageError
from ssd_core.metrics import summarize
from ssd_core.report.accuracy import describe_images
from ssd_core.stages.frame import INVOCATION_FILE, RESULTS_FILE
from ssd_core.stages.outputs import read_invocation, read_output
from ssd_core.stages.publish import check_requirements
from ssd_core.store.layout import Layout


def read_results(layout: Layout, run: str) -> dict[str, dict[str, Any]]:
    """Return the results of the finished steps by name.

    Args:
        layout: the root of the run.
        run: its id.

    Raises:
        UsageError: the run has no results below this root.
        DataError: the results of a step are damaged.
    """
    found = {}
    for step in STEPS:
        location = layout.run(run, step)
        if location.head(RESULTS_FILE) is not None:
            found[step] = read_output(location).results
    if not found:
        raise UsageError(
            f"{layout.root}: no results of the run '{run}' there; either no step has finished or "
            "the run had another root"
        )
    return found


def find_unfinished(layout: Layout, run: str) -> list[str]:
    """Return the steps that have begun and have no results: they failed, or are running."""
    records = {step: layout.run(run, step) for step in STEPS}
    return [
        step
        for step, record in records.items()
        if record.head(INVOCATION_FILE) is not None and record.head(RESULTS_FILE) is None
    ]


def explain_publish(layout: Layout, run: str, results: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the requirement that an unpublished model has missed, if it has one."""
    values = read_invocation(layout.run(run, "publish"))["config"]
    try:
        metrics = {step: result["metrics"] for step, result in results.items()}
        check_requirements(parse_section(PublishConfig, values, "publish"), metrics)
    except GateError as error:
        return str(error)
    return ""


def format_figures(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Describe accuracy and speed, from the results by step."""
    figures: list[str] = []
    if "evaluate" in results:
        figures += summarize("evaluate", results["evaluate"]["metrics"])
        if results["evaluate"].get("image_set", "all") != "all":
            figures.append(describe_images(results["evaluate"]))
    if "benchmark" in results:
        rate, *latency = summarize("benchmark", results["benchmark"]["metrics"])
        if "verdict" in results["benchmark"]:
            rate += f" ({results['benchmark']['verdict']['word']})"
        figures += [rate, *latency]
    return " · ".join(figures)
