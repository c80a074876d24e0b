"""The table of metrics: one row suffices to show a metric everywhere."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from pipelines.results import format_figures
from ssd_core.config import ReportConfig
from ssd_core.metrics import METRICS, Metric, group_metrics, summarize
from ssd_core.model_dir import read_model
from ssd_core.report.page import write_card
from ssd_core.stages import report
from ssd_core.store import LocalDirectory

F2 = Metric(
    name="f2",
    title="F2",
    description="at the best threshold",
    unit="%",
    spec=".1f",
    group="Balance",
    key_of=("evaluate",),
)


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("ap50", 0.8974, "AP50 0.897"),
        ("ap", None, "AP –"),
        ("loss", 2.0, "loss 2.000"),
        ("images_per_second", 1234.56, "1,234.6 images/s"),
        ("latency_ms_p50", 9.04, "latency 9.0 ms"),
        ("images", 364, "364 images"),
    ],
)
def test_a_value_is_described_with_title_and_unit(
    name: str, value: float | None, text: str
) -> None:
    assert METRICS[name].describe(value) == text


@pytest.mark.parametrize(
    ("name", "better", "worse"), [("ap", 0.5, 0.4), ("latency_ms_p50", 4, 5), ("loss", 1, 2)]
)
def test_the_direction_decides_which_value_is_better(
    name: str, better: float, worse: float
) -> None:
    metric = METRICS[name]
    assert metric.is_better(better, worse)
    assert not metric.is_better(worse, better)
    assert not metric.is_better(better, better)
    assert not METRICS["images"].is_better(better, worse)


def test_results_are_shown_in_the_order_of_the_table() -> None:
    values = {"ap50": 0.5, "unknown": 1.0, "ap": None, "latency_ms_p50": 3.0}
    assert summarize("evaluate", values) == ["AP –", "AP50 0.500"]
    assert {
        group: [metric.name for metric, _ in rows] for group, rows in group_metrics(values).items()
    } == {"Average precision": ["ap", "ap50"], "Speed": ["latency_ms_p50"]}


def test_a_new_row_appears_in_report_card_and_pipeline_output(
    evaluation_dir: Path, trained_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(METRICS, F2.name, F2)
    evaluated = Path(shutil.copytree(evaluation_dir, tmp_path / "evaluation"))
    results: dict[str, Any] = json.loads((evaluated / "results.json").read_text())
    results["metrics"]["f2"] = 71.25
    for row in results["classes"]:
        row["f2"] = 33.3
    (evaluated / "results.json").write_text(json.dumps(results))
    reported = report.run(
        ReportConfig(), [LocalDirectory(evaluated)], LocalDirectory(tmp_path / "report")
    )
    page = (tmp_path / "report/report.html").read_text()
    assert reported.metrics["f2"] == 71.25
    assert "<dt>F2</dt><dd>71.2 %</dd>" in page
    assert "<caption>Balance</caption>" in page
    assert '<th scope="col">F2</th>' in page
    assert "33.3 %</td>" in page
    assert "| F2 | at the best threshold | 71.2 % |" in (tmp_path / "report/report.md").read_text()
    card = write_card(
        "a", "b", read_model(LocalDirectory(trained_dir)).description, {"evaluate": results}
    )
    assert "| F2 | at the best threshold | 71.2 % |" in card
    assert "| 33.3 % |" in card
    assert "F2 71.2 %" in format_figures({"evaluate": results})


def test_every_metric_of_an_evaluation_has_a_row(evaluation_dir: Path, trained_dir: Path) -> None:
    for directory in (evaluation_dir, trained_dir):
        results = json.loads((directory / "results.json").read_text())
        assert set(results["metrics"]) <= set(METRICS)
