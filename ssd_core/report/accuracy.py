"""The accuracy section of the report: metrics, classes, precision over recall, confusion."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ssd_core.evaluation.coco import ERROR_TYPES, RECALL_GRID
from ssd_core.evaluation.diagnosis import MIN_SCORE
from ssd_core.metrics import Metric, group_metrics, key_metrics
from ssd_core.report.charts import INK, NUM_COLOURS, Chart, Line, class_colour, line_chart

_MAX_CURVES = 60
_MUTED = "var(--faint)"
_MUTED_LEGEND = (("mean", INK), ("each class", _MUTED))

_MATRIX_WIDTH = 1024
"""Of the page, in pixels."""
_CELL_WIDTHS = (18, 84)
"""Smallest and largest; three digits fit into the smallest cell."""
_MAX_CELL_HEIGHT = 36
_WIDE_CELL = 40
"""Width from which a cell has room for five digits and a larger font."""
_LETTER_WIDTH = 6.4
_MAX_LETTERS = 20


def accuracy(results: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of the section, from the `results.json` of an evaluation."""
    classes = sorted(results["classes"], key=lambda row: (row["ap"] is None, -(row["ap"] or 0)))
    has_colours = len(classes) <= NUM_COLOURS
    return {
        "groups": group_metrics(results["metrics"]),
        "class_metrics": class_metrics(results),
        "classes": [
            row | {"colour": class_colour(row["label"]) if has_colours else None} for row in classes
        ],
        "chart": _precision_recall(results["classes"]),
        "errors": [
            (name, ERROR_TYPES.get(name, ""), each["count"], each["ap50_cost"])
            for name, each in results["errors"].items()
        ],
        "confusion": _confusion(results["confusion"]) if results["confusion"] else None,
        "images": describe_images(results),
        "counts": {name: results[name] for name in ("objects", "detections")},
    }


def describe_images(results: Mapping[str, Any]) -> str:
    """Return the number of images behind the metrics, and which ones were left out."""
    images, skipped = results["images"], results["skipped_images"]
    if results["image_set"] == "all":
        return f"{images:,} images"
    return (
        f"{results['image_set']}'s reduced set, {images:,} of {images + skipped:,} images, "
        "without those with a crowd or no objects"
    )


def describe_intervals(results: Mapping[str, Any]) -> str:
    """Return AP and AP50 with their intervals; empty without any."""
    intervals, metrics = results.get("intervals", {}), results["metrics"]
    described = ", ".join(
        f"{metric.describe(metrics[metric.name])} [{low:.3f}, {high:.3f}]"
        for metric in key_metrics("evaluate")
        if (interval := intervals.get(metric.name))
        for low, high in [interval]
    )
    return described and f"{described} on {describe_images(results)}: 95 % bootstrap intervals"


def class_metrics(results: Mapping[str, Any]) -> list[Metric]:
    """Return the metrics that an evaluation measured per class too."""
    return [
        metric
        for rows in group_metrics(results["metrics"]).values()
        for metric, _ in rows
        if any(metric.name in row for row in results["classes"])
    ]


def _precision_recall(classes: Sequence[Mapping[str, Any]]) -> Chart | None:
    """Return one curve per class and their mean; many curves are muted except for the mean."""
    measured = [row for row in classes if row["precision_at_recall"]]
    if not measured:
        return None
    is_coloured = len(measured) <= NUM_COLOURS
    drawn = sorted(measured, key=lambda row: -row["objects"])[:_MAX_CURVES]
    lines = [
        Line(
            row["name"],
            RECALL_GRID,
            row["precision_at_recall"],
            class_colour(row["label"]) if is_coloured else _MUTED,
        )
        for row in sorted(drawn, key=lambda row: row["label"])
    ]
    if len(measured) > 1:
        curves = [row["precision_at_recall"] for row in measured]
        mean = [sum(values) / len(values) for values in zip(*curves, strict=True)]
        mean_line = Line("mean", RECALL_GRID, mean, INK, is_strong=True)
        lines.insert(0 if is_coloured else len(lines), mean_line)  # many curves would cover it
    chart = line_chart(
        "Precision over recall at IoU .50",
        lines,
        x_label="recall",
        x_range=(0, 1),
        y_range=(0, 1),
    )
    return chart if is_coloured else replace(chart, legend=_MUTED_LEGEND)


def _confusion(confusion: Mapping[str, Any]) -> dict[str, Any]:
    """Lay out the matrix: sizes in pixels, names, and the cells that are not 0 by row."""
    names, matrix = confusion["classes"], confusion["matrix"]
    shown = [_shorten(name) for name in names]
    name_width = round(_LETTER_WIDTH * max(map(len, shown)))
    left = max(name_width + 14, 100)
    smallest, largest = _CELL_WIDTHS
    width = min(largest, max(smallest, (_MATRIX_WIDTH - left) // len(names)))
    is_wide = width >= _WIDE_CELL
    rows = [
        [
            {
                "column": column,
                "text": f"{count:,}" if is_wide and count < 100_000 else _short_count(count),
                "title": _cell_title(names, row, column, count),
                "share": round(count / sum(counts), 2),
                "is_right": row == column,
            }
            for column, count in enumerate(counts)
            if count
        ]
        for row, counts in enumerate(matrix)
    ]
    return {
        "left": left,
        "top": 26 if name_width < width else name_width + 14,
        "cell": (width, min(width, _MAX_CELL_HEIGHT)),
        "is_turned": name_width >= width,
        "font_size": 12 if is_wide else 9,
        "names": list(zip(shown, names, strict=True)),
        "rows": rows,
        "min_score": MIN_SCORE,
    }


def _cell_title(names: Sequence[str], row: int, column: int, count: int) -> str:
    background = len(names) - 1
    if column == background:
        return f"{names[row]} missed: {count:,}"
    if row == background:
        return f"{names[column]} found where there is no object: {count:,}"
    return f"{names[row]} found as {names[column]}: {count:,}"


def _short_count(count: int) -> str:
    """Format a count in at most four characters."""
    for unit, size in (("M", 1_000_000), ("k", 1000)):
        if count >= size:
            return f"{count // size}{unit}"
    return str(count)


def _shorten(name: str) -> str:
    return name if len(name) <= _MAX_LETTERS else f"{name[: _MAX_LETTERS - 1]}…"
