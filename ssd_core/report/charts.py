"""Geometry and colours of the charts; the templates turn them into SVG."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from ssd_core.structures import Array

ASPECT = 0.62
"""Height of a chart relative to its width."""
_MAX_POINTS = 300
_NUM_TICKS = 5
_BAR_GAP = 0.16
"""Between the bars of neighbouring bins, relative to a bin."""

_PALETTE = (
    "#e6194b",
    "#1f77d0",
    "#2ca02c",
    "#f58231",
    "#911eb4",
    "#00a3a3",
    "#c7a008",
    "#f032e6",
    "#b5651d",
    "#6b8e23",
)
"""Distinct on images, on white and on black."""

NUM_COLOURS = len(_PALETTE)
"""With more classes than this, colours repeat."""

Range = tuple[float, float]
Ticks = Sequence[tuple[float, str]]
"""Positions, counted in bins from the left or lower border, and texts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """The rectangle for the values inside the view box of a chart; in pixels."""

    width: int
    """Of the view box."""
    height: int
    x_range: Range
    """Values at the left and the right border."""
    y_range: Range
    """Values at the lower and the upper border."""
    left: int = 46
    top: int = 10
    right_margin: int = 12
    bottom_margin: int = 34

    @property
    def right(self) -> int:
        """X of the right border."""
        return self.width - self.right_margin

    @property
    def bottom(self) -> int:
        """Y of the lower border."""
        return self.height - self.bottom_margin

    def place_x(self, value: float) -> float:
        """Return the x of a value."""
        return _scale(value, self.x_range, (self.left, self.right))

    def place_y(self, value: float) -> float:
        """Return the y of a value."""
        return _scale(value, self.y_range, (self.bottom, self.top))


@dataclass(frozen=True, slots=True)
class Line:
    """One curve."""

    name: str
    xs: Sequence[float] | Array
    ys: Sequence[float] | Array
    colour: str
    """Any CSS colour."""
    is_strong: bool = False
    """Drawn thicker than the others."""


@dataclass(frozen=True, slots=True)
class Series:
    """One value per bin."""

    name: str
    values: Sequence[float] | Array
    colour: str
    """Any CSS colour."""


@dataclass(frozen=True, slots=True)
class Rectangle:
    """A bar, or a cell of a map; in pixels of the view box."""

    x: float
    y: float
    width: float
    height: float
    colour: str
    """Any CSS colour."""
    name: str = ""
    """Shown as a tooltip."""
    opacity: float = 1.0


@dataclass(frozen=True, slots=True)
class Point:
    """A ring; in pixels of the view box."""

    x: float
    y: float
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A laid-out chart; in pixels of the view box."""

    title: str
    plot: Plot
    x_label: str
    y_label: str = ""
    x_ticks: tuple[tuple[float, str], ...]
    """Position and text."""
    y_ticks: tuple[tuple[float, str], ...]
    legend: tuple[tuple[str, str], ...] = ()
    """Name and colour."""
    rectangles: tuple[Rectangle, ...] = ()
    paths: tuple[tuple[Line, str], ...] = ()
    """Each line with its SVG path."""
    points: tuple[Point, ...] = ()


def class_colour(label: int) -> str:
    """Return the colour of a class as `#rrggbb`, the same on every image and chart.

    Labels count from 1.
    """
    return _PALETTE[(label - 1) % NUM_COLOURS]


def line_chart(
    title: str,
    lines: Sequence[Line],
    *,
    x_label: str,
    x_range: Range | None = None,
    y_range: Range | None = None,
    width: int = 330,
) -> Chart:
    """Lay out one or more lines with at least one point each.

    Long lines are averaged down to keep pages small; more than one line gets a legend.

    Args:
        title: of the chart.
        lines: drawn in this order.
        x_label: name of the x axis.
        x_range: None covers the values.
        y_range: None covers the values, starting at 0.
        width: of the view box; the width on the page, so that texts keep their size.
    """
    lines = [_shorten(line) for line in lines]
    x_range = x_range or (
        min(min(line.xs) for line in lines),
        max(max(line.xs) for line in lines),
    )
    y_ticks = round_ticks(*(y_range or (0.0, max(max(line.ys) for line in lines))))
    plot = Plot(
        width=width,
        height=round(width * ASPECT),
        x_range=x_range,
        y_range=y_range or (0.0, y_ticks[-1]),
    )
    x_ticks = [value for value in round_ticks(*x_range) if value <= x_range[1]]
    return Chart(
        title=title,
        plot=plot,
        x_label=x_label,
        x_ticks=tuple((plot.place_x(value), tick_text(value)) for value in x_ticks),
        y_ticks=tuple((plot.place_y(value), tick_text(value)) for value in y_ticks),
        legend=tuple((line.name, line.colour) for line in lines if len(lines) > 1),
        paths=tuple((line, _path(line, plot)) for line in lines),
    )


def bar_chart(
    title: str,
    series: Sequence[Series],
    *,
    labels: tuple[str, str],
    x_ticks: Ticks,
    is_stacked: bool = False,
    width: int = 480,
) -> Chart:
    """Lay out bars, those of several series side by side or stacked.

    Args:
        title: of the chart.
        series: all with the same number of bins.
        labels: of the x and the y axis.
        x_ticks: bin k spans the positions k to k + 1.
        is_stacked: stack the bars of a bin.
        width: of the view box, as for `line_chart`.
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
    share = (1 - _BAR_GAP) / (1 if is_stacked else len(series))
    bars = []
    for number, each in enumerate(series):
        start = _BAR_GAP / 2 + (0 if is_stacked else number * share)
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
    """Lay out a square map whose cells are more opaque for higher counts.

    Args:
        title: of the chart.
        counts: [N, N] by bin of x and bin of y.
        points: rings: x and y in bins, and a name.
        labels: of the x and the y axis.
        ticks: of both axes.
        width: of the view box, as for `line_chart`.
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


def round_ticks(low: float, high: float) -> list[float]:
    """Return round numbers from `low` up; the last one is not below `high`."""
    span = (high - low) or abs(high) or 1.0
    magnitude = 10.0 ** math.floor(math.log10(span / _NUM_TICKS))
    step = next(magnitude * f for f in (1, 2, 5, 10) if span / (magnitude * f) <= _NUM_TICKS)
    first = math.ceil(low / step - 1e-9)
    return [round(k * step, 12) for k in range(first, math.ceil(high / step - 1e-9) + 1)]


def tick_text(value: float) -> str:
    """Format a number briefly."""
    if abs(value) >= 10_000:
        return f"{value / 1000:g}k"
    return f"{value:g}".replace("e-0", "e-")


def _rectangle(plot: Plot, x_span: Range, y_span: Range, **look: Any) -> Rectangle:
    """Lay out the rectangle between two values of x and two of y; neighbours share a border."""
    left, right = (round(plot.place_x(value), 1) for value in x_span)
    bottom, top = (round(plot.place_y(value), 1) for value in y_span)
    return Rectangle(left, top, round(right - left, 1), round(bottom - top, 1), **look)


def _shorten(line: Line) -> Line:
    xs, ys = np.asarray(line.xs, np.float64), np.asarray(line.ys, np.float64)
    edges = np.linspace(0, len(xs), min(len(xs), _MAX_POINTS) + 1).round().astype(int)
    parts = [slice(start, stop) for start, stop in pairwise(edges)]
    return replace(
        line,
        xs=[float(xs[part].mean()) for part in parts],
        ys=[float(ys[part].mean()) for part in parts],
    )


def _path(line: Line, plot: Plot) -> str:
    points = [(plot.place_x(x), plot.place_y(y)) for x, y in zip(line.xs, line.ys, strict=True)]
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def _scale(value: float, source: Range, target: Range) -> float:
    share = (value - source[0]) / ((source[1] - source[0]) or 1.0)
    return target[0] + share * (target[1] - target[0])
