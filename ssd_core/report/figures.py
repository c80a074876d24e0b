"""Accuracy as text for a terminal: the lines of pycocotools, and the classes."""

from collections.abc import Mapping
from typing import Any

from ssd_core.evaluation.coco import format_summary
from ssd_core.logs import align
from ssd_core.report.accuracy import class_metrics, describe_images, describe_intervals

_TOO_WIDE = {"recall_at_precision_90", "threshold_at_precision_90"}
"""Columns for which a terminal has no room."""


def format_figures(results: Mapping[str, Any], *, has_closing_line: bool) -> str:
    """Return the twelve lines of COCO, intervals, a line per class, and a reduced set of images.

    `results` are the `results.json` of an evaluation. The closing line is the one that ended the
    output of MindSpore's SSD, where -1 means that nothing was measured.
    """
    lines = [format_summary(results["metrics"]), "", *_class_table(results)]
    if intervals := describe_intervals(results):
        lines[1:1] = ["", intervals]
    if results["image_set"] != "all":
        lines += ["", f"not COCO's figures: {describe_images(results)}"]
    if has_closing_line:
        ap = results["metrics"]["ap"]
        lines += ["", "=" * 40, f"mAP: {-1.0 if ap is None else ap}"]
    return "\n".join(lines)


def _class_table(results: Mapping[str, Any]) -> list[str]:
    """Return a line per class, the total last."""
    metrics = [metric for metric in class_metrics(results) if metric.name not in _TOO_WIDE]
    rows = [*results["classes"], {"name": "all", **results, **results["metrics"]}]
    table = [["class", "objects", *(metric.title for metric in metrics)]]
    for row in rows:
        values = (metric.format(row[metric.name]) for metric in metrics)
        table.append([row["name"], f"{row['objects']:,}", *values])
    return align(table, numbers=range(1, len(table[0])))
