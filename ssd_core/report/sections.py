"""What each part of the page says, from the files of the stages: plain values for the templates."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ssd_core.benchmark.speed import END_TO_END, PARTS
from ssd_core.evaluation.coco import COCO_METRICS, RECALL_GRID
from ssd_core.logs import format_duration
from ssd_core.report.charts import Chart, Line, line_chart
from ssd_core.report.colours import NUM_COLOURS, class_colour

_MAX_CURVES = 60
_MUTED = "var(--faint)"
_MAIN = "var(--ink)"
_MUTED_LEGEND = (("mean", _MAIN), ("each class", _MUTED))

_METRIC_TITLES = {
    "ap": "IoU .50 to .95",
    "ap50": "IoU .50",
    "ap75": "IoU .75",
    "ap_small": "small objects",
    "ap_medium": "medium objects",
    "ap_large": "large objects",
    "ar_1": "1 detection an image",
    "ar_10": "10 detections",
    "ar_100": "100 detections",
    "ar_small": "small objects",
    "ar_medium": "medium objects",
    "ar_large": "large objects",
}


def overview(
    results: Mapping[str, Mapping[str, Any]], invocations: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """Return title, headline, and where everything comes from, from the files of the stages given.

    Args:
        results: content of `results.json` by stage.
        invocations: content of `invocation.json` of the same stages.
    """
    stages = [stage for stage in ("benchmark", "evaluate", "train") if stage in results]
    return {
        "title": _title(results, invocations),
        "subtitle": _subtitle(results, invocations),
        "headline": _headline(results),
        "configuration": [
            (stage, flatten(invocation["config"])) for stage, invocation in invocations.items()
        ],
        "environment": flatten(results[stages[0]]["environment"]) if stages else [],
        "origins": [
            (stage, name, place["uri"], place.get("digest", ""))
            for stage, invocation in invocations.items()
            for name, place in invocation["inputs"].items()
        ],
    }


def accuracy(results: Mapping[str, Any]) -> dict[str, Any]:
    """Return the twelve numbers, the table of classes and the precision-recall chart."""
    metrics = results["metrics"]
    rows = [(name, _METRIC_TITLES[name], metrics[name]) for name in COCO_METRICS]
    classes = sorted(results["classes"], key=lambda row: (row["ap"] is None, -(row["ap"] or 0)))
    has_colours = len(classes) <= NUM_COLOURS
    return {
        "precision": rows[:6],
        "recall": rows[6:],
        "classes": [
            row | {"colour": class_colour(row["label"]) if has_colours else None} for row in classes
        ],
        "chart": _precision_recall(results["classes"]),
        "counts": {name: results[name] for name in ("images", "objects", "detections")},
    }


def speed(results: Mapping[str, Any]) -> dict[str, Any]:
    """Return the table of times, and for each batch size the share of its parts."""
    batches = results["batches"]
    per_image = [
        [batch["milliseconds"][part]["p50"] / batch["batch_size"] for part in PARTS]
        for batch in batches
    ]
    longest = max(sum(times) for times in per_image)
    bars = [
        {
            "batch_size": batch["batch_size"],
            "total": sum(times),
            "parts": [
                {"name": part, "ms": ms, "percent": 100 * ms / longest}
                for part, ms in zip(PARTS, times, strict=True)
            ],
        }
        for batch, times in zip(batches, per_image, strict=True)
    ]
    columns = {part: part.replace("_", " ") for part in (*PARTS, END_TO_END)}
    return {"columns": columns, "batches": batches, "bars": bars, "photos": results["photos"]}


def training(log: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Return the charts of a training log, or None where it has no finished interval."""
    steps = [line for line in log if line["event"] == "step"]
    tests = [line for line in log if line["event"] == "evaluation"]
    if not steps:
        return None
    losses = {"loss": ("total", _MAIN), "loss_cls": ("classes", class_colour(2))}
    losses |= {"loss_bbox": ("boxes", class_colour(4))}
    charts = [
        _step_chart("Loss", steps, losses),
        _step_chart("Learning rate", steps, {"learning_rate": ("rate", _MAIN)}),
    ]
    if tests:
        scores = {"ap": ("AP", _MAIN), "ap50": ("AP50", class_colour(2))}
        charts.append(_step_chart("Accuracy on the val split", tests, scores))
    last = steps[-1]
    facts = [
        ("steps", f"{last['step']:,}"),
        ("epochs", f"{last['epoch']:g}"),
        ("images a second", f"{last['samples'] / last['seconds']:.1f}"),
        ("time", format_duration(last["seconds"])),
        ("final loss", f"{last['loss']:.3f}"),
    ]
    return {"charts": charts, "facts": facts}


def flatten(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Return the leaves of nested mappings as dotted names and texts."""
    rows = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            rows += flatten(value, f"{prefix}{name}.")
        else:
            rows.append((prefix + name, value if isinstance(value, str) else json.dumps(value)))
    return rows


def _title(
    results: Mapping[str, Mapping[str, Any]], invocations: Mapping[str, Mapping[str, Any]]
) -> str:
    """Name the recipe and the data set, as far as they are known."""
    recipes = [stage["model"]["recipe"] for stage in results.values() if "model" in stage]
    recipes += [
        stage["options"]["recipe"] for stage in invocations.values() if "recipe" in stage["options"]
    ]
    data_sets = [stage["data"]["name"] for stage in results.values() if "data" in stage]
    return " on ".join([*recipes[:1], *data_sets[:1]]) or "Report"


def _subtitle(
    results: Mapping[str, Mapping[str, Any]], invocations: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    stages = ", ".join(invocations)
    versions = sorted({invocation["version"] for invocation in invocations.values()})
    models = [stage["model"] for stage in results.values() if "model" in stage]
    steps = [f"{model['step']:,} steps" for model in models[:1]]
    return [stages, *steps, f"ssd-core {', '.join(versions)}"]


def _headline(results: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str, str]]:
    """Return the key figures: value, name, note."""
    figures = []
    if "evaluate" in results:
        evaluate = results["evaluate"]
        images = f"{evaluate['images']:,} images"
        for name, title, note in (("ap", "AP", "IoU .50 to .95"), ("ap50", "AP50", "IoU .50")):
            value = evaluate["metrics"][name]
            figures.append(("–" if value is None else f"{value:.3f}", title, f"{note}, {images}"))
    if "benchmark" in results:
        metrics, batches = results["benchmark"]["metrics"], results["benchmark"]["batches"]
        device = _short(results["benchmark"]["environment"]["device_name"])
        rate = metrics["images_per_second"]
        best = max(batches, key=lambda batch: batch["images_per_second"])["batch_size"]
        figures.append((f"{rate:,.1f}", "images/s", f"batch {best}, {device}"))
        latency = f"batch {batches[0]['batch_size']}, p99 {metrics['latency_ms_p99']:.1f} ms"
        figures.append((f"{metrics['latency_ms_p50']:.1f} ms", "latency", latency))
    return figures


def _short(device_name: str) -> str:
    """Leave out of a processor's name what does not tell it apart: (R), (TM), CPU, the clock."""
    return re.sub(r"\((R|TM)\)| CPU| @.*", "", device_name)


def _precision_recall(classes: Sequence[Mapping[str, Any]]) -> Chart | None:
    """Return a curve a class and their mean; where there are many, all but the mean are muted."""
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
        mean = _mean_curve(row["precision_at_recall"] for row in measured)
        mean_line = Line("mean", RECALL_GRID, mean, _MAIN, is_strong=True)
        lines.insert(0 if is_coloured else len(lines), mean_line)  # many would hide it
    chart = line_chart(
        "Precision over recall at IoU .50",
        lines,
        x_label="recall",
        x_range=(0, 1),
        y_range=(0, 1),
        width=480,
    )
    return chart if is_coloured else replace(chart, legend=_MUTED_LEGEND)


def _mean_curve(curves: Iterable[Sequence[float]]) -> list[float]:
    return [sum(values) / len(values) for values in zip(*curves, strict=True)]


def _step_chart(
    title: str,
    rows: Sequence[Mapping[str, Any]],
    names: Mapping[str, tuple[str, str]],
) -> Chart:
    """Return a chart over the steps; `names` are the keys with their caption and colour."""
    lines = [
        Line(
            caption,
            [row["step"] for row in rows if name in row],
            [row[name] for row in rows if name in row],
            colour,
            is_strong=name == next(iter(names)),
        )
        for name, (caption, colour) in names.items()
        if any(name in row for row in rows)
    ]
    return line_chart(title, lines, x_label="step", x_range=(0, rows[-1]["step"]))
