"""The accuracy section of the report: metrics, classes, curves, errors, confusion."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ssd_core.evaluation.coco import ERROR_TYPES, RECALL_GRID
from ssd_core.logs import format_count
from ssd_core.metrics import METRICS, Metric, group_metrics, key_metrics
from ssd_core.report.charts import (
    DASHES,
    INK,
    NUM_COLOURS,
    THIRD_WIDTH,
    Chart,
    Line,
    class_colour,
    class_colours,
    class_dash,
    line_chart,
)

_MAX_CURVES = 60
_MUTED = "var(--faint)"
_SHARE = (0.0, 1.0)

_ERRORS = {
    "localisation": "imprecise boxes",
    "classification": "wrong classes",
    "duplicate": "second detections of one object",
    "background": "detections of no object",
    "both": "imprecise boxes of wrong classes",
    "missed": "missed objects",
}
"""The types of errors in running text."""
_MAX_COUNTED = 40
"""Rows of a confusion matrix up to which its cells have room for numbers."""


def accuracy(results: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of the section, from the `results.json` of an evaluation."""
    classes = sorted(results["classes"], key=lambda row: (row["ap"] is None, -(row["ap"] or 0)))
    counts = results["sizes"] | results.get("aspects", {})
    return {
        "summary": list(_summary(results, classes)),
        "groups": {
            group: [(_count_objects(metric, counts), value) for metric, value in rows]
            for group, rows in group_metrics(results["metrics"]).items()
        },
        "class_metrics": class_metrics(results),
        "classes": classes,
        "colours": class_colours(results["classes"]),
        "charts": list(_charts(results)),
        "errors": [
            (name, ERROR_TYPES.get(name, ""), each["count"], each["ap50_cost"])
            for name, each in results["errors"].items()
        ],
        "confusion": _confusion(results["confusion"]),
        "images": describe_images(results),
        "counts": {name: results[name] for name in ("objects", "detections")},
        "min_score": results["min_score"],
    }


def describe_images(results: Mapping[str, Any]) -> str:
    """Return the number of images behind the metrics, an unusual split, and those left out."""
    images, skipped = results["images"], results["skipped_images"]
    split = results.get("data", {}).get("split", "val")
    if results["image_set"] == "all":
        return f"{images:,} images{'' if split == 'val' else f' of the {split} split'}"
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


def _count_objects(metric: Metric, counts: Mapping[str, int]) -> Metric:
    """Return a metric of some objects with their number in its description."""
    if metric.objects is None or metric.objects not in counts:
        return metric
    noun = metric.description.removesuffix("s")
    return replace(metric, description=format_count(counts[metric.objects], noun))


def _summary(results: Mapping[str, Any], classes: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield in sentences how good the model is and where it fails; `classes` are best first."""
    metrics, objects = results["metrics"], results["objects"]
    if not objects:
        yield "There are no objects, so there is no accuracy to measure."
        return
    missed, false = (sum(row[name] for row in classes) for name in ("missed", "false"))
    yield (
        f"At score {results['min_score']}, {objects - missed:,} of {objects:,} objects are found "
        f"and {false:,} detections are false."
    )
    if balance := _best_balance(metrics):
        threshold = METRICS["f1_threshold"].format(balance[0])
        f1 = METRICS["f1"].describe(balance[1])
        yield f"Score {threshold} gives the best balance of precision and recall, {f1}."
    measured = [row for row in classes if row["ap"] is not None]
    if len(measured) > 1:
        count = min(3, len(measured) // 2)
        best, worst = (
            ", ".join(f"{row['name']} ({METRICS['ap'].format(row['ap'])})" for row in rows)
            for rows in (measured[:count], measured[: -count - 1 : -1])
        )
        yield f"Best by AP: {best}. Worst: {worst}."
    kind, cost = max(
        ((name, each["ap50_cost"]) for name, each in results["errors"].items()),
        key=lambda each: each[1],
    )
    if cost > 0:
        errors = _ERRORS.get(kind, "errors")
        yield f"AP50 would rise most, by {cost:.3f}, without {errors} ({kind})."


def _best_balance(metrics: Mapping[str, float | None]) -> tuple[float, float] | None:
    """Return the score with the best F1 and that F1; an evaluation without objects has neither."""
    score, f1 = metrics.get("f1_threshold"), metrics.get("f1")
    return None if score is None or f1 is None else (score, f1)


def _charts(results: Mapping[str, Any]) -> Iterator[Chart]:
    """Yield precision over recall, the curves over the threshold, and the calibration."""
    if chart := _precision_recall(results["classes"]):
        yield chart
    curves, bins = results["thresholds"], results["calibration"]
    if curves["threshold"]:
        colours = (INK, class_colour(2), class_colour(4))
        lines = [
            Line(
                key.replace("f1", "F1"), curves["threshold"], curves[key], colour, not number, dash
            )
            for number, (key, colour, dash) in enumerate(
                zip(("f1", "precision", "recall"), colours, DASHES, strict=True)
            )
        ]
        chart = _share_chart("F1, precision, recall by score", lines, "score threshold")
        balance = _best_balance(results["metrics"])
        yield replace(chart, rings=((*balance, "best F1"),) if balance else ())
    if bins:
        xs, ys = [[each[key] for each in bins] for key in ("score", "precision")]
        lines = [
            Line("measured", xs, ys, class_colour(2), is_strong=True),
            Line("perfect", _SHARE, _SHARE, INK, dash=DASHES[1]),
        ]
        rings = tuple(
            (each["score"], each["precision"], f"{each['detections']:,} detections")
            for each in bins
        )
        yield replace(_share_chart("Precision by score", lines, "mean score"), rings=rings)


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
            dash=class_dash(row["label"]) if is_coloured else "",
        )
        for row in sorted(drawn, key=lambda row: row["label"])
    ]
    if len(measured) > 1:
        curves = [row["precision_at_recall"] for row in measured]
        mean = [sum(values) / len(values) for values in zip(*curves, strict=True)]
        mean_line = Line("mean", RECALL_GRID, mean, INK, is_strong=True)
        lines.insert(0 if is_coloured else len(lines), mean_line)  # many curves would cover it
    chart = _share_chart("Precision over recall, IoU .50", lines, "recall")
    muted = (mean_line, replace(lines[0], name="each class")) if not is_coloured else ()
    return replace(chart, legend=muted or chart.legend)


def _share_chart(title: str, lines: Sequence[Line], x_label: str) -> Chart:
    return line_chart(
        title, lines, x_label=x_label, x_range=_SHARE, y_range=_SHARE, width=THIRD_WIDTH
    )


def _confusion(confusion: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row per true class with a cell per found class, None for 0, and the worst pairs."""
    names, matrix = confusion["classes"], confusion["matrix"]
    return {
        "names": names,
        "has_counts": len(names) <= _MAX_COUNTED,
        "rows": [
            [
                {
                    "count": count,
                    "title": _cell_title(names, row, column, count),
                    "share": round(count / sum(counts), 2),
                    "is_right": row == column,
                }
                if count
                else None
                for column, count in enumerate(counts)
            ]
            for row, counts in enumerate(matrix)
        ],
        "pairs": _confused_pairs(names, matrix),
        "among_others": confusion.get("among_others", 0),
    }


def _confused_pairs(
    names: Sequence[str], matrix: Sequence[Sequence[int]], limit: int = 10
) -> list[tuple[str, str, int]]:
    """Return the most frequent confusions of two classes: true, found, count."""
    pairs = [
        (names[row], names[column], count)
        for row, counts in enumerate(matrix[:-1])
        for column, count in enumerate(counts[:-1])
        if count and row != column
    ]
    return sorted(pairs, key=lambda pair: -pair[2])[:limit]


def _cell_title(names: Sequence[str], row: int, column: int, count: int) -> str:
    background = len(names) - 1
    if column == background:
        return f"{names[row]} missed: {count:,}"
    if row == background:
        return f"{names[column]} found where there is no object: {count:,}"
    return f"{names[row]} found as {names[column]}: {count:,}"
