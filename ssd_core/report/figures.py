"""Accuracy as text for a terminal: what pycocotools prints, and the classes."""

from collections.abc import Iterator, Mapping
from typing import Any

from ssd_core.evaluation.coco import format_summary
from ssd_core.report.accuracy import class_metrics, describe_images

_COLUMN = 10
"""Characters of a number in the table of classes."""


def format_figures(results: Mapping[str, Any], *, has_closing_line: bool) -> str:
    """Return the twelve lines of COCO, a line per class, and a reduced set of images.

    `results` are the `results.json` of an evaluation. The closing line is the one that ended the
    output of MindSpore's SSD, where -1 means that nothing was measured.
    """
    lines = [format_summary(results["metrics"]), "", *_class_table(results)]
    if results["image_set"] != "all":
        lines += ["", f"not COCO's figures: {describe_images(results)}"]
    if has_closing_line:
        ap = results["metrics"]["ap"]
        lines += ["", "=" * 40, f"mAP: {-1.0 if ap is None else ap}"]
    return "\n".join(lines)


def _class_table(results: Mapping[str, Any]) -> Iterator[str]:
    metrics = class_metrics(results)
    titles = ["objects", *(metric.title for metric in metrics)]
    total = {"name": "all", "objects": results["objects"], **results["metrics"]}
    rows = [*results["classes"], total]
    width = max(len(name) for name in ("class", *(row["name"] for row in rows)))
    yield _line("class", titles, width)
    for row in rows:
        values = (metric.format(row[metric.name]) for metric in metrics)
        yield _line(row["name"], [f"{row['objects']:,}", *values], width)


def _line(name: str, cells: list[str], width: int) -> str:
    return f"{name:{width}}" + "".join(f"{cell:>{_COLUMN}}" for cell in cells)
