"""Two evaluations side by side, as text for a terminal and as the values of a page."""

from collections.abc import Mapping, Sequence
from typing import Any

from ssd_core import __version__
from ssd_core.logs import align
from ssd_core.metrics import METRICS, Metric, key_metrics
from ssd_core.report.charts import class_colours
from ssd_core.report.images import AnnotatedImage

_HEADLINE = ("ap", "ap50")
_LISTED = 10
"""Changed images on a terminal."""


def format_comparison(results: Mapping[str, Any]) -> str:
    """Return the metrics, the classes, the images that changed most, and the verdict."""
    lines = [*_table(results), ""]
    if changed := results["changed_images"]:
        shown = f"{min(len(changed), _LISTED)} of {results['num_changed_images']:,} changed images"
        lines.append(f"objects that only one found, at score {results['min_score']:g}, in {shown}")
        lines += [
            f"  {row['path'] or row['image_id']}: "
            + "; ".join(
                f"only {name} {describe_objects(row[key])}"
                for name, key in (("A", "only_a"), ("B", "only_b"))
                if row[key]
            )
            for row in changed[:_LISTED]
        ]
        lines.append("")
    if speeds := _speed_rows(results):
        shown = "; ".join(f"{title} {a} → {b}, {change}" for title, a, b, change in speeds)
        lines.append(f"speed, measured once each: {shown}")
    lines += [describe_verdict(results, name) for name in _HEADLINE]
    return "\n".join(lines)


def describe_verdict(results: Mapping[str, Any], name: str) -> str:
    """Return one sentence: "B is worse: AP 0.534 → 0.513, -0.021 [-0.034, -0.009]"."""
    row, metric = results["overall"][name], METRICS[name]
    judged = {"not distinguishable": "A and B are not distinguishable"}
    verdict = judged.get(row["verdict"], f"B is {row['verdict']}")
    values = f"{metric.format(row['a'])} → {metric.format(row['b'])}"
    return f"{verdict}: {metric.title} {values}, {' '.join(_change(metric, row))}"


def describe_objects(counts: Mapping[str, int]) -> str:
    """Return "3 cat, 1 dog"."""
    return ", ".join(f"{count:,} {name}" for name, count in counts.items())


def content(
    results: Mapping[str, Any], uris: Sequence[str], pictures: Sequence[AnnotatedImage]
) -> dict[str, Any]:
    """Return the values of the page about the evaluations A and B at these URIs."""
    metric = METRICS["ap"]
    return {
        "title": "Comparison of two evaluations",
        "subtitle": [f"A {uris[0]}", f"B {uris[1]}", f"ssd-core {__version__}"],
        "headline": [
            (
                results["overall"][name]["verdict"],
                f"{METRICS[name].title} of B",
                describe_verdict(results, name).partition(": ")[2],
            )
            for name in _HEADLINE
        ],
        "counts": {name: results[name] for name in ("images", "objects")},
        "rows": [
            {"title": title, "objects": objects, "verdict": row["verdict"]}
            | {"a": metric.format(row["a"]), "b": metric.format(row["b"])}
            | dict(zip(("difference", "interval"), _change(metric, row), strict=True))
            for title, objects, row in _rows(results)
        ],
        "changed": [
            row | {key: describe_objects(row[key]) for key in ("only_a", "only_b")}
            for row in results["changed_images"]
        ],
        "num_changed": results["num_changed_images"],
        "pictures": pictures,
        "colours": class_colours(results["classes"]),
        "speeds": _speed_rows(results),
        "devices": [each["device"] for each in results["speeds"]],
        "min_score": results["min_score"],
    }


def _speed_rows(results: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Return title, both values and the change of each speed that both runs measured."""
    if not results["speeds"]:
        return []
    a, b = (each["metrics"] for each in results["speeds"])
    metrics = [each for each in key_metrics("benchmark") if each.name in a and each.name in b]
    return [
        (metric.title, metric.format(a[metric.name]), metric.format(b[metric.name]))
        + (f"{100 * (b[metric.name] / a[metric.name] - 1):+.1f} %",)
        for metric in metrics
    ]


def _rows(results: Mapping[str, Any]) -> list[tuple[str, int, Mapping[str, Any]]]:
    """Return title, objects and values of each metric, and of the AP of each class."""
    metrics = results["overall"].items()
    return [
        *((METRICS[name].title, results["objects"], row) for name, row in metrics),
        *((row["name"], row["objects"], row) for row in results["classes"]),
    ]


def _table(results: Mapping[str, Any]) -> list[str]:
    metric = METRICS["ap"]
    table = [("AP", "objects", "A", "B", "B - A", "95 % interval", "B is")]
    for title, objects, row in _rows(results):
        values = (metric.format(row["a"]), metric.format(row["b"]), *_change(metric, row))
        table.append((title, f"{objects:,}", *values, row["verdict"]))
    return align(table, numbers=range(1, 6))


def _change(metric: Metric, row: Mapping[str, Any]) -> tuple[str, str]:
    """Return the difference and its interval with signs; a dash for None."""
    shown = "–" if row["difference"] is None else f"{row['difference']:+{metric.spec}}"
    if row["interval"] is None:
        return shown, "–"
    low, high = (f"{value:+{metric.spec}}" for value in row["interval"])
    return shown, f"[{low}, {high}]"
