"""Charts of counts: bars over one quantity, and a map over two."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ssd_core.report.charts import (
    ASPECT,
    Chart,
    Plot,
    Point,
    Range,
    Rectangle,
    round_ticks,
    tick_text,
)
from ssd_core.structures import Array

_GAP = 0.16
"""Between the bars of neighbouring bins, relative to a bin."""

Ticks = Sequence[tuple[float, str]]
"""Positions, counted in bins from the left or lower border, and texts."""


@dataclass(frozen=True, slots=True)
class Series:
    """A value for each bin."""

    name: str
    values: Sequence[float] | Array
    colour: str
    """Any CSS colour."""


def bar_chart(
    title: str,
    series: Sequence[Series],
    *,
    labels: tuple[str, str],
    x_ticks: Ticks,
    is_stacked: bool = False,
    width: int = 480,
) -> Chart:
    """Lay out bars: those of several series beside each other, or on top of each other.

    Args:
        title: of the chart.
        series: all with the same number of bins.
        labels: of the quantity, and of what is counted.
        x_ticks: bin k reaches from position k to k + 1.
        is_stacked: put the bars of a bin on top of each other.
        width: of the view box, as `line_chart` has it.
    """
    values = np.array([each.values for each in series], np.float64)
    floors = np.cumsum(values, axis=0) - values if is_stacked else np.zeros_like(values)
    y_ticks = round_ticks(0, float((floors + values).max(initial=0)))
    plot = Plot(
        width=width,
        height=round(width * ASPECT),
        x_range=(0, values.shape[1]),
        y_range=(0, y_ticks[-1]),
    )
    share = (1 - _GAP) / (1 if is_stacked else len(series))
    bars = []
    for number, each in enumerate(series):
        start = _GAP / 2 + (0 if is_stacked else number * share)
        for column in np.flatnonzero(values[number]).tolist():
            value, floor = float(values[number, column]), float(floors[number, column])
            x_span = (column + start, column + start + share)
            name = f"{each.name} {value:,.4g}"
            y_span = (floor, floor + value)
            bars.append(_rectangle(plot, x_span, y_span, colour=each.colour, name=name))
    return Chart(
        title=title,
        plot=plot,
        x_label=labels[0],
        y_label=labels[1],
        x_ticks=tuple((plot.place_x(position), text) for position, text in x_ticks),
        y_ticks=tuple((plot.place_y(value), tick_text(value)) for value in y_ticks),
        legend=tuple((each.name, each.colour) for each in series if len(series) > 1),
        rectangles=tuple(bars),
    )


def heat_map(
    title: str,
    counts: Array,
    points: Sequence[tuple[float, float, str]],
    *,
    labels: tuple[str, str],
    ticks: Ticks,
    width: int = 480,
) -> Chart:
    """Lay out a square map; a cell is the stronger, the more it counts.

    Args:
        title: of the chart.
        counts: [N, N] by bin of x and bin of y.
        points: rings on the map: positions in bins, and a name.
        labels: of x and of y.
        ticks: of both axes.
        width: of the view box, as `line_chart` has it.
    """
    bins = (0.0, float(len(counts)))
    plot = Plot(width=width, height=width, x_range=bins, y_range=bins)
    highest = np.log1p(counts.max(initial=1))
    cells = [
        _rectangle(
            plot,
            (column, column + 1),
            (row, row + 1),
            colour="var(--accent)",
            name=f"{counts[column, row]:,} objects",
            opacity=round(float(0.12 + 0.88 * np.log1p(counts[column, row]) / highest), 2),
        )
        for column, row in np.argwhere(counts).tolist()
    ]
    return Chart(
        title=title,
        plot=plot,
        x_label=labels[0],
        y_label=labels[1],
        x_ticks=tuple((plot.place_x(position), text) for position, text in ticks),
        y_ticks=tuple((plot.place_y(position), text) for position, text in ticks),
        rectangles=tuple(cells),
        points=tuple(
            Point(round(plot.place_x(x), 1), round(plot.place_y(y), 1), name)
            for x, y, name in points
        ),
    )


def _rectangle(plot: Plot, x_span: Range, y_span: Range, **look: Any) -> Rectangle:
    """Lay out the rectangle between two values of x and two of y; neighbours share their border."""
    left, right = (round(plot.place_x(value), 1) for value in x_span)
    bottom, top = (round(plot.place_y(value), 1) for value in y_span)
    return Rectangle(left, top, round(right - left, 1), round(bottom - top, 1), **look)
