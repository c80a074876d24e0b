"""Every metric in one table: its key in results, and how pages, cards and logs show it.

A new metric is one row of METRICS and the code that computes it.
"""

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from functools import partial
from typing import Any, Literal

PARTS = ("decode", "preprocess", "forward", "postprocess")
"""The parts of a detection whose times a benchmark measures: `decode` includes resizing to the
network input, `preprocess` the transfer to the device."""
END_TO_END = "end_to_end"


@dataclass(frozen=True, slots=True)
class Metric:
    """One row of the table."""

    name: str
    """Key in `results.json`, in training logs and in the metrics of Kubeflow Pipelines."""
    title: str
    description: str = ""
    """Completes the title where there is room for it."""
    _: KW_ONLY
    unit: str = ""
    """Follows the number; a unit that equals the title is shown once: "9.8 images/s"."""
    spec: str = ".3f"
    """Format specification of the number."""
    direction: Literal["higher", "lower", "neutral"] = "higher"
    """Which of two values is better."""
    group: str
    """Heading of the table that lists the metric."""
    objects: Literal["small", "medium", "large", "tall", "square", "wide"] | None = None
    """The only objects that it measures, by their area or aspect; None for all."""
    key_of: tuple[str, ...] = ()
    """Stages that show the metric in their summaries; all others appear in tables only."""

    def format(self, value: float | None) -> str:
        """Return the number with its unit; a dash for None, which had nothing to measure."""
        if value is None:
            return "–"
        number = f"{value:{self.spec}}"
        return f"{number} {self.unit}" if self.unit and self.unit != self.title else number

    def describe(self, value: float | None) -> str:
        """Return number and title for running text: "AP50 0.897", "9.8 images/s"."""
        words = [self.format(value), self.title]
        return " ".join(words if self.unit == self.title else reversed(words))

    def is_better(self, value: float, other: float) -> bool:
        """Return whether `value` is better than `other`; no value of a neutral metric is."""
        return value != other and self.direction == ("higher" if value > other else "lower")


_count = partial(Metric, spec=",.0f", direction="neutral", group="Data")
_loss = partial(Metric, direction="lower", group="Loss")
_precision = partial(Metric, group="Average precision")
_recall = partial(Metric, group="Average recall")
_point = partial(Metric, group="Thresholds")
_latency = partial(
    Metric,
    description="bytes to boxes, smallest batch",
    unit="ms",
    spec=",.1f",
    direction="lower",
    group="Speed",
)

_ROWS = (
    _count("images", "images", unit="images", key_of=("convert", "inspect")),
    _count("boxes", "boxes", unit="boxes", key_of=("convert",)),
    _count("objects", "objects", unit="objects", key_of=("inspect",)),
    _count(
        "images_in_both_splits",
        "images in several splits",
        unit="images in several splits",
        direction="lower",
        key_of=("inspect",),
    ),
    _loss("loss", "loss", key_of=("train",)),
    _loss("loss_cls", "classification loss"),
    _loss("loss_bbox", "box loss"),
    _loss("val_loss", "validation loss"),
    _precision("ap", "AP", "IoU .50 to .95", key_of=("evaluate",)),
    _precision("ap50", "AP50", "IoU .50", key_of=("evaluate",)),
    _precision("ap75", "AP75", "IoU .75"),
    _precision("ap_small", "AP small", "small objects", objects="small"),
    _precision("ap_medium", "AP medium", "medium objects", objects="medium"),
    _precision("ap_large", "AP large", "large objects", objects="large"),
    _precision("ap_tall", "AP tall", "tall objects", objects="tall"),
    _precision("ap_square", "AP square", "square objects", objects="square"),
    _precision("ap_wide", "AP wide", "wide objects", objects="wide"),
    _precision("voc_ap_07", "VOC AP 07", "VOC 2007: IoU .50, 11 recalls"),
    _precision("voc_ap_12", "VOC AP 12", "VOC 2010 to 2012: IoU .50, all recalls"),
    _recall("ar_1", "AR1", "1 detection per image"),
    _recall("ar_10", "AR10", "10 detections per image"),
    _recall("ar_100", "AR100", "100 detections per image"),
    _recall("ar_small", "AR small", "small objects", objects="small"),
    _recall("ar_medium", "AR medium", "medium objects", objects="medium"),
    _recall("ar_large", "AR large", "large objects", objects="large"),
    _point("f1", "F1", "best of all score thresholds, IoU .50"),
    _point("f1_threshold", "F1 at score", "threshold of the best F1", direction="neutral"),
    _point("recall_at_precision_90", "R at P .9", "recall at precision .90"),
    _point(
        "threshold_at_precision_90",
        "P .9 at score",
        "threshold of recall at precision .90",
        direction="neutral",
    ),
    _point(
        "calibration_error",
        "calibration",
        "mean difference of score and precision",
        direction="lower",
    ),
    Metric(
        "images_per_second",
        "images/s",
        "throughput, fastest batch size",
        unit="images/s",
        spec=",.1f",
        group="Speed",
        key_of=("train", "benchmark"),
    ),
    Metric(
        "train_images_per_second",
        "training images/s",
        "steady state, data loading included",
        unit="images/s",
        spec=",.1f",
        group="Speed",
    ),
    _latency("latency_ms_p50", "latency", key_of=("benchmark",)),
    _latency("latency_ms_p90", "latency p90"),
    _latency("latency_ms_p99", "latency p99"),
)

METRICS = {row.name: row for row in _ROWS}
"""The rows by name, in the order of display."""


def key_metrics(stage: str) -> list[Metric]:
    """Return the metrics that summarise a stage."""
    return [metric for metric in METRICS.values() if stage in metric.key_of]


def summarize(stage: str, values: Mapping[str, Any]) -> list[str]:
    """Describe the key metrics of a stage that its results contain."""
    return [
        metric.describe(values[metric.name])
        for metric in key_metrics(stage)
        if metric.name in values
    ]


def group_metrics(values: Mapping[str, Any]) -> dict[str, list[tuple[Metric, float | None]]]:
    """Return the metrics that `values` contains, each with its value, by group."""
    groups: dict[str, list[tuple[Metric, float | None]]] = {}
    for metric in METRICS.values():
        if metric.name in values:
            groups.setdefault(metric.group, []).append((metric, values[metric.name]))
    return groups
