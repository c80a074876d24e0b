"""The card of a published model, as Markdown: what it is, how good, how fast, how to use it."""

import re
from collections.abc import Mapping
from typing import Any

from ssd_core.metrics import METRICS, group_metrics
from ssd_core.model_dir import ModelDescription
from ssd_core.report.accuracy import class_metrics
from ssd_core.report.page import render_text

_PERCENTILES = ("p50", "p90", "p99")


def write_card(
    title: str, place: str, description: ModelDescription, results: Mapping[str, Mapping[str, Any]]
) -> str:
    """Return the card.

    Args:
        title: name and version.
        place: path or URI under which the model is found.
        description: content of its `config.json`.
        results: content of `results.json` of evaluate, and of benchmark where there is one.
    """
    evaluate = results["evaluate"]
    content = {
        "title": title,
        "place": place,
        "model": description,
        "data_name": evaluate["data"]["name"],
        "split": evaluate["data"]["split"],
        "images": evaluate["images"],
        "objects": evaluate["objects"],
        "accuracy": group_metrics(evaluate["metrics"]),
        "speed": _speed(results["benchmark"]) if "benchmark" in results else None,
        "environment": list(results.get("benchmark", evaluate)["environment"].items()),
        "class_metrics": class_metrics(evaluate),
        "classes": evaluate["classes"],
    }
    return render_text("model_card.md", content, filters={"cell": _cell})


def _speed(results: Mapping[str, Any]) -> dict[str, Any]:
    environment = results["environment"]
    return {
        "device": environment["device_name"],
        "precision": environment["precision"],
        "metrics": group_metrics(results["metrics"]),
        "rate": METRICS["images_per_second"],
        "rows": [
            {
                "batch_size": batch["batch_size"],
                "images_per_second": batch["images_per_second"],
                **{name: batch["milliseconds"]["end_to_end"][name] for name in _PERCENTILES},
            }
            for batch in results["batches"]
        ],
    }


def _cell(text: object) -> str:
    """Return a text that stays one plain cell of a table: names in data sets may hold anything."""
    return re.sub(r"([\\`*_{}\[\]<>|#!~&])", r"\\\1", " ".join(str(text).split()))
