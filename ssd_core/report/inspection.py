"""The page about a data set, from the results of `inspect`: headline, order, charts."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ssd_core import __version__
from ssd_core.data.inspection.statistics import IOU_EDGES, NUM_OCTAVES, SHAPE_BINS, SIDE_BINS
from ssd_core.data.inspection.table import SIZES
from ssd_core.report.charts import (
    INK,
    Chart,
    Line,
    Series,
    bar_chart,
    class_colour,
    class_colours,
    heat_map,
    line_chart,
    round_ticks,
    tick_text,
)
from ssd_core.report.images import AnnotatedImage
from ssd_core.report.page import percent
from ssd_core.structures import Array, IntArray

_IMAGE_TITLES = {
    "smallest": "The smallest objects",
    "most": "The most objects",
    "fewest": "The fewest objects",
    "augmented": "The first of the training, as the network sees them",
}
_SPLIT_COLOURS = {"train": "var(--part-3)", "val": "var(--part-4)", "test": "var(--part-2)"}
_GREY = "var(--faint)"
_NUM_BEST = 3
"""Recipes with a colour besides the chosen one."""
_MAX_BARS = 26
_MAX_CHANGE = 60
"""Characters of a changed value below the title; a list of anchors has thousands."""
_PERCENTS = (0.5, 1, 2, 5, 10, 20, 50, 100)

_Reach = Mapping[str, Any] | None
"""Reach of the anchors of the chosen recipe, if one is chosen."""


def content(
    results: Mapping[str, Any], shapes: IntArray, images: Mapping[str, Sequence[AnnotatedImage]]
) -> dict[str, Any]:
    """Return the values of the page that are not in `results.json` itself.

    `shapes` comes from `count_shapes`, and the keys of `images` are those of `find_extremes`.
    """
    data, classes = results["data"], results["classes"]
    changes = [
        each if len(each) <= _MAX_CHANGE else f"{each[: _MAX_CHANGE - 1]}…"
        for each in results["assignments"]
    ]
    counts = {row["name"]: sum(row["objects"].values()) for row in classes}
    reach = results["anchors"].get(results["recipe"])
    has_objects = any(counts.values())
    return {
        "title": data["name"] or "Data set",
        "subtitle": [
            "data set",
            f"from {data['format']}",
            f"ssd-core {__version__}",
            *([f"{results['recipe']} with {', '.join(changes)}"] if changes else []),
        ],
        "headline": _headline(results, counts, reach),
        "results": results,
        "reach": reach,
        "counts": counts,
        "classes": sorted(classes, key=lambda row: -counts[row["name"]]),
        "colours": class_colours(classes),
        "sizes": SIZES,
        "unit": _unit(reach),
        "objects_chart": _objects_chart(results),
        "size_charts": [_side_chart(results, reach), _shape_chart(shapes, reach)],
        "anchor_charts": [
            *([_reach_chart(results, reach)] if reach and has_objects else []),
            *([_recipes_chart(results)] if has_objects else []),
        ],
        "images": [(_IMAGE_TITLES[kind], found) for kind, found in images.items() if found],
    }


def _headline(
    results: Mapping[str, Any], counts: Mapping[str, int], reach: _Reach
) -> list[tuple[str, str, str]]:
    """Return the key figures: value, title, note."""
    images, objects = results["metrics"]["images"], results["metrics"]["objects"]
    by_split = ", ".join(f"{split['images']:,} {name}" for name, split in results["splits"].items())
    most = max(counts, key=counts.__getitem__)
    figures = [
        (f"{images:,}", "images", by_split),
        (f"{objects:,}", "objects", f"{objects / max(images, 1):.1f} per image"),
        (
            f"{len(counts):,}",
            "classes",
            f"{percent(counts[most], objects)} of the objects are {most}",
        ),
    ]
    if reach:
        note = f"no anchor of {results['recipe']} at IoU {reach['iou_threshold']:g}"
        figures.append((percent(reach["unreached"], reach["objects"]), "out of reach", note))
    return figures


def _objects_chart(results: Mapping[str, Any]) -> Chart:
    counts = {name: s["objects_per_image_histogram"] for name, s in results["splits"].items()}
    longest = max(len(values) for values in counts.values())
    bin_size = -(-longest // _MAX_BARS)
    series = [
        Series(name, _percents(_rebin(values, bin_size, longest)), _SPLIT_COLOURS[name])
        for name, values in counts.items()
    ]
    ticks = [tick for tick in round_ticks(0, longest) if tick[0] % 1 == 0 and tick[0] < longest]
    return bar_chart(
        "Objects per image",
        series,
        labels=("objects", "% of the images"),
        x_ticks=[((value + 0.5) / bin_size, text) for value, text in ticks],
    )


def _side_chart(results: Mapping[str, Any], reach: _Reach) -> Chart:
    bins = _occupied(_count_sides(results))
    series = [
        Series(name, _percents(split["side_histogram"])[slice(*bins)], _SPLIT_COLOURS[name])
        for name, split in results["splits"].items()
    ]
    return bar_chart(
        "Size of the objects",
        series,
        labels=(f"root of the area, {_unit(reach)}", "% of the objects"),
        x_ticks=_log_ticks(reach, SIDE_BINS, bins),
    )


def _shape_chart(shapes: IntArray, reach: _Reach) -> Chart:
    """Return the map of widths and heights, with the anchors of the chosen recipe as rings."""
    rings = []
    if reach:
        for width, height in (shape for level in reach["levels"] for shape in level["shapes"]):
            x, y = (
                _log_position(side / reach["image_size"], SHAPE_BINS) for side in (width, height)
            )
            rings.append((x, y, f"{width:g} × {height:g} px"))
    first, last = _occupied(shapes.sum(axis=0) + shapes.sum(axis=1), *(ring[:2] for ring in rings))
    unit = _unit(reach)
    return heat_map(
        "Width and height of the objects" + (", anchors as rings" if reach else ""),
        shapes[first:last, first:last],
        [(x - first, y - first, name) for x, y, name in rings],
        labels=(f"width, {unit}", f"height, {unit}"),
        ticks=_log_ticks(reach, SHAPE_BINS, (first, last)),
    )


def _reach_chart(results: Mapping[str, Any], reach: Mapping[str, Any]) -> Chart:
    """Return the share of the objects of each size that no anchor of the recipe reaches.

    The axis fits the shares, so that a few objects among thousands are visible.
    """
    every = _count_sides(results)
    bins = _occupied(every)
    shares = 100 * np.array(reach["unreached_side_histogram"]) / np.maximum(every, 1)
    return bar_chart(
        f"Objects out of reach of {results['recipe']}, by size",
        [Series("out of reach, %:", shares[slice(*bins)], "var(--alert)")],
        labels=(f"root of the area, {_unit(reach)}", "% of the objects of this size"),
        x_ticks=_log_ticks(reach, SIDE_BINS, bins),
    )


def _recipes_chart(results: Mapping[str, Any]) -> Chart:
    """Return one curve per recipe: the share of objects with an anchor of at least some IoU.

    The chosen recipe and those with the best median have colours; the others are grey.
    """
    chosen, anchors = results["recipe"], results["anchors"]
    others = sorted(anchors.keys() - {chosen}, key=lambda name: (-_median_iou(anchors, name), name))
    colours = {chosen: INK} if chosen else {}
    colours |= {name: class_colour(row) for row, name in enumerate(others[:_NUM_BEST], 1)}
    curves = {
        name: Line(
            name,
            IOU_EDGES,
            _percent_above(anchors[name]["best_iou_histogram"]),
            colours.get(name, _GREY),
            is_strong=name == chosen,
        )
        for name in [*reversed(others), *([chosen] if chosen else [])]  # the chosen one on top
    }
    drawn = line_chart(
        "Objects with an anchor of at least this IoU, %",
        list(curves.values()),
        x_label="IoU",
        x_range=(0, 1),
        y_range=(0, 100),
    )
    rest = [Line("other recipes", [], [], _GREY)] if len(curves) > len(colours) else []
    return replace(drawn, legend=(*(curves[name] for name in colours), *rest))


def _median_iou(anchors: Mapping[str, Any], name: str) -> float:
    median: float = anchors[name]["best_iou"]["median"]
    return median


def _unit(reach: _Reach) -> str:
    """Return the unit of sides: pixels of the chosen recipe's input, or relative."""
    return f"px at {reach['image_size']} px input" if reach else "% of the image"


def _count_sides(results: Mapping[str, Any]) -> Array:
    """Return how many objects of all splits each bin of `side_histogram` has."""
    counts: Array = np.sum([each["side_histogram"] for each in results["splits"].values()], axis=0)
    return counts


def _occupied(counts: Array, *positions: tuple[float, float]) -> tuple[int, int]:
    """Return the first bin and the end of an axis that fits counts and positions on it."""
    used = [*np.flatnonzero(counts), *(int(each) for pair in positions for each in pair)]
    if not used:
        return 0, len(counts)
    return max(0, int(min(used)) - 1), min(len(counts), int(max(used)) + 2)


def _log_ticks(reach: _Reach, per_octave: int, bins: tuple[int, int]) -> list[tuple[float, str]]:
    """Return round numbers of the unit with their positions on an axis of these bins."""
    whole = reach["image_size"] if reach else 100
    octaves = range(math.ceil(math.log2(whole)) - NUM_OCTAVES, math.floor(math.log2(whole)) + 1)
    values = [2**k for k in octaves] if reach else _PERCENTS
    places = [(_log_position(value / whole, per_octave), tick_text(value)) for value in values]
    return [(place - bins[0], text) for place, text in places if bins[0] <= place <= bins[1]]


def _log_position(value: float, per_octave: int) -> float:
    """Return the position of a relative length in bins from the left, clipped to the axis."""
    position = (math.log2(value) + NUM_OCTAVES) * per_octave
    return min(max(position, 0), NUM_OCTAVES * per_octave)


def _rebin(counts: Sequence[int], bin_size: int, length: int) -> Array:
    """Join neighbouring bins; the result covers at least `length` of the old bins."""
    num_bins = -(-length // bin_size)
    padded = np.pad(counts, (0, num_bins * bin_size - len(counts)))
    sums: Array = padded.reshape(num_bins, bin_size).sum(axis=1)
    return sums


def _percents(counts: Sequence[int] | Array) -> Array:
    percents: Array = 100 * np.asarray(counts) / max(np.sum(counts), 1)
    return percents


def _percent_above(counts: Sequence[int]) -> Array:
    """Return the share at or above each edge of a histogram, the last edge included."""
    above = np.append(np.cumsum(counts[::-1])[::-1], 0)
    percents: Array = 100 * above / max(np.sum(counts), 1)
    return percents
