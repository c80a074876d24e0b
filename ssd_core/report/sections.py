"""Headline, speed and training in the report: values for the template from the stages' files."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from ssd_core.logs import format_duration
from ssd_core.metrics import END_TO_END, METRICS, PARTS, Metric, group_metrics, key_metrics
from ssd_core.report.accuracy import describe_images
from ssd_core.report.charts import (
    DASHES,
    INK,
    THIRD_WIDTH,
    Chart,
    Line,
    class_colour,
    line_chart,
    round_ticks,
)
from ssd_core.report.commands import flatten, next_steps, repeat_commands


def overview(
    results: Mapping[str, Mapping[str, Any]],
    invocations: Mapping[str, Mapping[str, Any]],
    *,
    model: str | None = None,
    run_id: str = "",
) -> dict[str, Any]:
    """Return title, headline, commands, configuration, environment and inputs.

    `results` and `invocations` are the contents of `results.json` and `invocation.json` by stage,
    `model` is the path or URI of the model, and `run_id` the run of a pipeline.
    """
    stages = [stage for stage in ("benchmark", "evaluate", "train") if stage in results]
    models = [stage["model"] for stage in results.values() if "model" in stage][:1]
    data_sets = [stage["data"]["name"] for stage in results.values() if "data" in stage][:1]
    runs = {stage: _describe_run(results[stage]["run"]) for stage in stages if stage != "train"}
    versions = sorted({invocation["version"] for invocation in invocations.values()})
    return {
        "title": " on ".join([*(model["recipe"] for model in models), *data_sets]) or "Report",
        "subtitle": [
            *(f"measured {run}" for run in list(runs.values())[:1]),
            *(f"{model['step']:,} steps" for model in models if model["step"]),
            *([f"run {run_id}"] if run_id else []),
            f"ssd-core {', '.join(versions)}",
        ],
        "headline": _headline(results),
        "next_steps": next_steps(model, results, invocations) if model else [],
        "repeat": repeat_commands(invocations),
        "configuration": [
            # The invocation of a training holds the whole recipe.
            (stage, flatten(invocation["config"].get(stage, invocation["config"])))
            for stage, invocation in invocations.items()
        ],
        "environment": [
            *runs.items(),
            *(results[stages[0]]["environment"].items() if stages else ()),
        ],
        "origins": [
            (stage, name, source["uri"], source.get("digest", ""))
            for stage, invocation in invocations.items()
            for name, source in invocation["inputs"].items()
        ],
    }


def speed(results: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metrics, the table of times, and one bar per batch size.

    A bar holds the median milliseconds per image of each part.
    """
    return {
        "metrics": [
            (metric.title, metric.format(value), _batch_note(metric, results["batches"]))
            for rows in group_metrics(results["metrics"]).values()
            for metric, value in rows
        ],
        "rate": METRICS["images_per_second"],
        "columns": {part: part.replace("_", " ") for part in (*PARTS, END_TO_END)},
        "batches": results["batches"],
        "bars": {
            batch["batch_size"]: {
                part: batch["milliseconds"][part]["p50"] / batch["batch_size"] for part in PARTS
            }
            for batch in results["batches"]
        },
        "images": results["images"],
        "comparison": (results.get("verdict") or {}).get("comparison"),
        "trend": _trend(results.get("verdict")),
    }


def _trend(verdict: Mapping[str, Any] | None) -> Chart | None:
    """Return the speeds of a series and the limits of its noise; None without earlier runs."""
    if not verdict or not verdict.get("earlier"):
        return None
    speeds = [*verdict["earlier"], verdict["value"]]
    x_range = (1.0, float(len(speeds)))
    lines = [Line("speed", range(1, len(speeds) + 1), speeds, INK, is_strong=True)]
    if verdict["margin"] is not None:
        for name, margin in (("upper", verdict["margin"]), ("lower", -verdict["margin"])):
            limits = [verdict["median"] + margin] * 2
            lines.append(Line(f"{name} limit of the noise", x_range, limits, class_colour(2)))
    title = "Earlier runs of the series and this one"
    highest = max(max(line.ys) for line in lines)
    y_range = (0.0, round_ticks(0, highest)[-1][0])  # from 0, so that noise looks like noise
    return line_chart(
        title, lines, x_label="run", x_range=x_range, y_range=y_range, width=THIRD_WIDTH
    )


def training(log: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Return the charts of a training log; None without a finished interval."""
    steps = [line for line in log if line["event"] == "step"]
    tests = [line for line in log if line["event"] == "evaluation"]
    if not steps:
        return None
    losses = {metric.name: metric.title for metric, _ in group_metrics(steps[0])["Loss"]}
    charts = [
        _step_chart("Loss", steps, losses),
        _step_chart("Learning rate", steps, {"learning_rate": "rate"}),
    ]
    if tests:
        scores = {metric.name: metric.title for metric in key_metrics("evaluate")}
        charts.append(_step_chart("Accuracy on the val split", tests, scores))
    last = steps[-1]
    rate = METRICS["images_per_second"]
    facts = [
        ("steps", f"{last['step']:,}"),
        ("epochs", f"{last['epoch']:g}"),
        (rate.title, rate.format(last["samples"] / last["seconds"])),
        ("time", format_duration(last["seconds"])),
        ("final loss", METRICS["loss"].format(last["loss"])),
    ]
    return {"charts": charts, "facts": facts}


def _headline(results: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str, str]]:
    """Return the key metrics: value, title, note."""
    figures = []
    for stage in ("evaluate", "benchmark"):
        if stage not in results:
            continue
        metrics = results[stage]["metrics"]
        figures += [
            (metric.format(metrics[metric.name]), metric.title, _note(metric, results[stage]))
            for metric in key_metrics(stage)
            if metric.name in metrics
        ]
    return figures


def _note(metric: Metric, results: Mapping[str, Any]) -> str:
    """Return the conditions under which a key metric was measured."""
    batches = results.get("batches", ())
    batch = _batch_note(metric, batches)
    if metric.name == "images_per_second":
        return f"{batch}, {_shorten(results['environment']['device_name'])}"
    if metric.name == "latency_ms_p50":
        worst = METRICS["latency_ms_p99"]
        return f"{batch}, p99 {worst.format(results['metrics'].get(worst.name))}"
    images = "" if batches else f", {describe_images(results)}"
    return f"{_interval(results, metric)}{metric.description}{images}"


def _batch_note(metric: Metric, batches: Sequence[Mapping[str, Any]]) -> str:
    """Return the batch size of a speed of detection; nothing for other metrics."""
    if metric.name == "images_per_second":
        best = max(batches, key=lambda batch: batch["images_per_second"])
        return f"batch {best['batch_size']}"
    return f"batch {batches[0]['batch_size']}" if metric.name.startswith("latency") else ""


def _describe_run(run: Mapping[str, Any]) -> str:
    """Return when and where a stage ran, and for how long."""
    begun = datetime.fromisoformat(run["begun"])
    return f"{begun:%Y-%m-%d %H:%M} UTC on {run['host']} in {format_duration(run['seconds'])}"


def _interval(results: Mapping[str, Any], metric: Metric) -> str:
    """Return the interval of a metric, if the evaluation has one."""
    interval = results.get("intervals", {}).get(metric.name)
    return f"95 % interval {' to '.join(map(metric.format, interval))}, " if interval else ""


def _shorten(device_name: str) -> str:
    """Remove (R), (TM), CPU and the clock from the name of a processor."""
    return re.sub(r"\((R|TM)\)| CPU| @.*", "", device_name)


def _step_chart(
    title: str,
    rows: Sequence[Mapping[str, Any]],
    captions: Mapping[str, str],
) -> Chart:
    """Return a chart over the steps with one line per key of `captions`, the first one thick."""
    lines = [
        Line(
            caption,
            [row["step"] for row in rows if name in row],
            [row[name] for row in rows if name in row],
            class_colour(2 * number) if number else INK,
            is_strong=not number,
            dash=DASHES[number % len(DASHES)],
        )
        for number, (name, caption) in enumerate(captions.items())
        if any(name in row for row in rows)
    ]
    x_range = (rows[0]["step"], rows[-1]["step"])
    return line_chart(title, lines, x_label="step", x_range=x_range, width=THIRD_WIDTH)
