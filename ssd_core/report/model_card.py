"""The card of a published model as Markdown: accuracy, speed, and how to use the model."""

from collections.abc import Mapping
from typing import Any

from ssd_core.metrics import METRICS, group_metrics
from ssd_core.model_dir import ModelDescription
from ssd_core.report.accuracy import class_metrics
from ssd_core.report.page import render_page


def write_card(
    title: str, uri: str, description: ModelDescription, results: Mapping[str, Mapping[str, Any]]
) -> str:
    """Return the card; `results` are those of evaluate, and of benchmark if there is one."""
    evaluate, benchmark = results["evaluate"], results.get("benchmark")
    content = {
        "title": title,
        "uri": uri,
        "model": description,
        "evaluate": evaluate,
        "benchmark": benchmark,
        "accuracy": group_metrics(evaluate["metrics"]),
        "class_metrics": class_metrics(evaluate),
        "speed": group_metrics(benchmark["metrics"]) if benchmark else {},
        "rate": METRICS["images_per_second"],
        "environment": (benchmark or evaluate)["environment"],
    }
    return render_page("model_card.md", content)
