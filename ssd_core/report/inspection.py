"""What the page about a data set says, from the results of `inspect`: plain values to show."""

from collections.abc import Mapping, Sequence
from typing import Any

from ssd_core import __version__
from ssd_core.data.inspection.table import SIZES
from ssd_core.report import inspection_charts as charts
from ssd_core.report.charts import NUM_COLOURS, class_colour
from ssd_core.report.images import AnnotatedImage
from ssd_core.report.page import percent
from ssd_core.structures import IntArray

_IMAGE_TITLES = {
    "smallest": "The smallest objects",
    "most": "The most objects",
    "fewest": "The fewest objects",
}


def content(
    results: Mapping[str, Any], shapes: IntArray, images: Mapping[str, Sequence[AnnotatedImage]]
) -> dict[str, Any]:
    """Return what the page shows, part by part.

    Args:
        results: content of `results.json`.
        shapes: [N, N] objects by width and height, as `count_shapes` has them.
        images: by kind, the keys of `find_extremes`.
    """
    data, classes, changes = results["data"], results["classes"], results["assignments"]
    has_colours = len(classes) <= NUM_COLOURS
    colours = {row["name"]: class_colour(row["label"]) for row in classes if has_colours}
    has_objects = any(split["objects"] for split in results["splits"].values())
    return {
        "title": data["name"] or "Data set",
        "subtitle": [
            "data set",
            f"from {data['format']}",
            f"ssd-core {__version__}",
            *([f"{results['recipe']} with {', '.join(changes)}"] if changes else []),
        ],
        "headline": _headline(results),
        "remarks": results["remarks"],
        "split_names": list(results["splits"]),
        "counts": _counts(results["splits"]),
        "objects_chart": charts.objects_chart(results),
        "classes": _classes(results, colours),
        "recipe": results["recipe"],
        "size_charts": [charts.side_chart(results), charts.shape_chart(results, shapes)],
        "anchors": _anchors(results) if has_objects else None,
        "images": [(_IMAGE_TITLES[kind], found) for kind, found in images.items() if found],
        "image_classes": list(colours.items()),
        "repeated": results["repeated"],
        "near": results["near"],
        "findings": results["findings"],
        "origins": [("shards", data["uri"], data["digest"]), ("source", data["source"], "")],
    }


def _headline(results: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return the key figures: value, name, note."""
    splits, classes, metrics = results["splits"], results["classes"], results["metrics"]
    images, objects = metrics["images"], metrics["objects"]
    by_split = ", ".join(f"{split['images']:,} {name}" for name, split in splits.items())
    most = max(classes, key=lambda row: sum(row["objects"].values()))
    share = percent(sum(most["objects"].values()), objects)
    figures = [
        (f"{images:,}", "images", by_split),
        (f"{objects:,}", "objects", f"{objects / max(images, 1):.1f} an image"),
        (f"{len(classes):,}", "classes", f"{share} of the objects are {most['name']}"),
    ]
    if results["recipe"]:
        reach = results["anchors"][results["recipe"]]
        note = f"no anchor of {results['recipe']} at IoU {reach['iou_threshold']:g}"
        figures.append((percent(reach["unreached"], reach["objects"]), "out of reach", note))
    return figures


def _counts(splits: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return the table of counts: name, then a text and a note for each split."""
    columns = [_count_column(split) for split in splits.values()]
    return [(name, [column[name] for column in columns]) for name in columns[0]]


def _count_column(split: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    images, objects = split["images"], split["objects"]
    without = split["images_without_objects"]
    return {
        "images": (f"{images:,}", f"{split['bytes'] / 1e6:,.1f} MB"),
        "without objects": (f"{without:,}", percent(without, images)),
        "width, px": _middle(split["width"]),
        "height, px": _middle(split["height"]),
        "objects": (f"{objects:,}", ""),
        "in an image": _middle(split["objects_per_image"]),
        **{size: (f"{count:,}", percent(count, objects)) for size, count in split["sizes"].items()},
        "difficult": (f"{split['difficult']:,}", ""),
        "crowds, not counted": (f"{split['crowds']:,}", ""),
    }


def _classes(results: Mapping[str, Any], colours: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the table of classes, the most frequent first."""
    reach = results["anchors"].get(results["recipe"])
    whole, unit = (reach["image_size"], "px") if reach else (100, "%")
    totals = [sum(row["objects"].values()) for row in results["classes"]]
    rows = [
        {
            "name": row["name"],
            "colour": colours.get(row["name"]),
            "objects": total,
            "share": 100 * total / max(*totals, 1),
            "by_split": list(row["objects"].values()),
            "images": sum(row["images"].values()),
            "side": f"{row['side']['median'] * whole:.0f} {unit}" if row["side"] else "–",
            "unreached": percent(reach["unreached_classes"][k], total) if reach else "",
        }
        for k, (row, total) in enumerate(zip(results["classes"], totals, strict=True))
    ]
    return sorted(rows, key=lambda row: -row["objects"])


def _anchors(results: Mapping[str, Any]) -> dict[str, Any]:
    """Return the comparison of all recipes, and the levels of the chosen one."""
    sizes = {
        size: sum(split["sizes"][size] for split in results["splits"].values()) for size in SIZES
    }
    rows = [
        {
            "name": name,
            "image_size": reach["image_size"],
            "anchors": sum(level["anchors"] for level in reach["levels"]),
            "iou_threshold": reach["iou_threshold"],
            "median": reach["best_iou"]["median"],
            "share": 100 * reach["unreached"] / reach["objects"],
            "unreached": percent(reach["unreached"], reach["objects"]),
            "sizes": [percent(reach["unreached_sizes"][size], sizes[size]) for size in SIZES],
        }
        for name, reach in results["anchors"].items()
    ]
    return {
        "sizes": SIZES,
        "recipes": sorted(rows, key=lambda row: row["share"]),
        "charts": [
            chart
            for chart in (charts.reach_chart(results), charts.recipes_chart(results))
            if chart is not None
        ],
        "levels": _levels(results["anchors"].get(results["recipe"])),
    }


def _levels(reach: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    if reach is None:
        return []
    return [
        {
            "stride": f"{level['stride']:g}",
            "shapes": ", ".join(f"{width:.0f} × {height:.0f}" for width, height in level["shapes"]),
            "anchors": level["anchors"],
            "objects": level["objects"],
            "share": 100 * level["objects"] / reach["objects"],
            "percent": percent(level["objects"], reach["objects"]),
        }
        for level in reach["levels"]
    ]


def _middle(spread: Mapping[str, float] | None) -> tuple[str, str]:
    """Write a median with the smallest and the largest value as a note."""
    if spread is None:
        return "–", ""
    low, middle, high = (f"{spread[name]:,g}" for name in ("min", "median", "max"))
    return middle, "" if low == high else f"{low} to {high}"
