"""Geometry and colours (any of CSS) of the charts; the templates turn them into SVG."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from ssd_core.structures import Array

WIDTH = 480
"""Of most charts in pixels, also on the page, so that all texts have one size."""
THIRD_WIDTH = 330
"""Of a chart that fills the page together with two others."""
_ASPECT = 0.62
"""Height of a chart relative to its width."""
_MAX_POINTS = 300
_NUM_TICKS = 5
_BAR_GAP = 0.16
"""Between the bars of neighbouring bins, relative to a bin."""

INK = "var(--ink)"
"""Of texts, and of the line that counts most."""
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

DASHES = ("", "7 3", "2 3")
"""Of lines, so that their colours are not the only difference."""

Range = tuple[float, float]
Ticks = Sequence[tuple[float, str]]
"""Positions and texts; positions on an axis of bins count bins from the left or lower border."""


@dataclass(frozen=True, slots=True)
class Line:
    """One curve."""

    name: str
    xs: Sequence[float] | Array
    ys: Sequence[float] | Array
    colour: str
    is_strong: bool = False
    """Drawn thicker than the others."""
    dash: str = ""
    """Of DASHES."""


@dataclass(frozen=True, slots=True)
class Series:
    """One value per bin."""

    name: str
    values: Sequence[float] | Array
    colour: str


@dataclass(frozen=True, slots=True)
class Rectangle:
    """A bar, or a cell of a map."""

    x_span: Range
    y_span: Range
    colour: str
    name: str
    """Shown as a tooltip."""
    opacity: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A chart in the units of its values; the template places them in the view box."""

    title: str
    width: int
    """Of the view box in pixels."""
    height: int
    x_range: Range
    """Values at the left and the right border of the plot."""
    y_range: Range
    """Values at the lower and the upper border of the plot."""
    x_label: str
    y_label: str = ""
    x_ticks: Ticks
    y_ticks: Ticks
    legend: tuple[Line | Series, ...] = ()
    rectangles: tuple[Rectangle, ...] = ()
    lines: tuple[Line, ...] = ()
    rings: tuple[tuple[float, float, str], ...] = ()
    """X, y and tooltip."""
    left: int = 46
    top: int = 10

    @property
    def right(self) -> int:
        """Right border of the plot in pixels."""
        return self.width - 12

    @property
    def bottom(self) -> int:
        """Lower border of the plot in pixels."""
        return self.height - 34

    def place_x(self, value: float) -> float:
        """Return the pixel of an x."""
        return _scale(value, self.x_range, (self.left, self.right))

    def place_y(self, value: float) -> float:
        """Return the pixel of a y."""
        return _scale(value, self.y_range, (self.bottom, self.top))

    def path(self, line: Line) -> str:
        """Return a line as an SVG path; a single point, which would be invisible, as a dash."""
        points = list(zip(map(self.place_x, line.xs), map(self.place_y, line.ys), strict=True))
        if len(points) == 1:
            points.append((points[0][0] + 8, points[0][1]))
        return "M" + "L".join(f"{x} {y}" for x, y in points)


def class_colour(label: int) -> str:
    """Return the colour of a label (1..K) as `#rrggbb`, the same on every image and chart."""
    return _PALETTE[(label - 1) % NUM_COLOURS]


def class_colours(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return the colour of each class by its name; nothing if some would have the same."""
    if len(rows) > NUM_COLOURS:
        return {}
    return {row["name"]: class_colour(row["label"]) for row in rows}


def class_dash(label: int) -> str:
    """Return the dashes of a label's line."""
    return DASHES[(label - 1) % len(DASHES)]


def line_chart(
    title: str,
    lines: Sequence[Line],
    *,
    x_label: str,
    x_range: Range,
    y_range: Range | None = None,
    width: int = WIDTH,
) -> Chart:
    """Lay out one or more lines with at least one point each, drawn in this order.

    Long lines are averaged down to keep pages small; more than one line gets a legend. Without
    `y_range` the axis covers the values, from one round number to another. Steps and runs, which
    are whole numbers, have no fractions on their axis.
    """
    is_counted = all(float(x).is_integer() for line in lines for x in line.xs)
    x_ticks = [
        (value, text)
        for value, text in round_ticks(*x_range)
        if value <= x_range[1] and (value.is_integer() or not is_counted)
    ]
    lines = [_shorten(line) for line in lines]
    values = [value for line in lines for value in line.ys]
    y_ticks = round_ticks(*(y_range or (min(values), max(values))), covers_low=y_range is None)
    return Chart(
        title=title,
        width=width,
        height=round(width * _ASPECT),
        x_range=x_range,
        y_range=y_range or (y_ticks[0][0], y_ticks[-1][0]),
        x_label=x_label,
        x_ticks=x_ticks,
        y_ticks=y_ticks,
        legend=tuple(lines) if len(lines) > 1 else (),
        lines=tuple(lines),
    )


def bar_chart(
    title: str,
    series: Sequence[Series],
    *,
    labels: tuple[str, str],
    x_ticks: Ticks,
) -> Chart:
    """Lay out bars, those of several series side by side.

    All series have the same number of bins; bin k spans the positions k to k + 1. The labels are
    those of the x and the y axis.
    """
    values = np.array([each.values for each in series], np.float64)
    y_ticks = round_ticks(0, float(values.max(initial=0)))
    share = (1 - _BAR_GAP) / len(series)
    bars = []
    for number, each in enumerate(series):
        for column in np.flatnonzero(values[number]).tolist():
            left, value = column + _BAR_GAP / 2 + number * share, float(values[number, column])
            name = f"{each.name} {value:,.4g}"
            bars.append(Rectangle((left, left + share), (0, value), each.colour, name))
    return Chart(
        title=title,
        width=WIDTH,
        height=round(WIDTH * _ASPECT),
        x_range=(0, values.shape[1]),
        y_range=(0, y_ticks[-1][0]),
        x_label=labels[0],
        y_label=labels[1],
        x_ticks=x_ticks,
        y_ticks=y_ticks,
        legend=tuple(series) if len(series) > 1 else (),
        rectangles=tuple(bars),
    )


def heat_map(
    title: str,
    counts: Array,
    rings: Sequence[tuple[float, float, str]],
    *,
    labels: tuple[str, str],
    ticks: Ticks,
) -> Chart:
    """Lay out a square map whose cells are more opaque for higher counts.

    `counts` is [N, N] by bin of x and bin of y; a ring has x and y in bins, and a name.
    """
    bins = (0.0, float(len(counts)))
    highest = np.log1p(counts.max(initial=1))
    cells = [
        Rectangle(
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
        width=WIDTH,
        height=WIDTH,
        x_range=bins,
        y_range=bins,
        x_label=labels[0],
        y_label=labels[1],
        x_ticks=ticks,
        y_ticks=ticks,
        rectangles=tuple(cells),
        rings=tuple(rings),
    )


def round_ticks(low: float, high: float, *, covers_low: bool = False) -> list[tuple[float, str]]:
    """Return round numbers and their texts, the first at least `low`, the last at least `high`.

    With `covers_low` the first is at most `low`.
    """
    span = (high - low) or abs(high) or 1.0
    magnitude = 10.0 ** math.floor(math.log10(span / _NUM_TICKS))
    step = next(magnitude * f for f in (1, 2, 5, 10) if span / (magnitude * f) <= _NUM_TICKS)
    first = math.floor(low / step + 1e-9) if covers_low else math.ceil(low / step - 1e-9)
    values = [round(k * step, 12) for k in range(first, math.ceil(high / step - 1e-9) + 1)]
    return [(value, tick_text(value)) for value in values]


def tick_text(value: float) -> str:
    """Format a number briefly."""
    if abs(value) >= 10_000:
        return f"{value / 1000:g}k"
    return f"{value:g}".replace("e-0", "e-")


def _shorten(line: Line) -> Line:
    xs, ys = np.asarray(line.xs, np.float64), np.asarray(line.ys, np.float64)
    edges = np.linspace(0, len(xs), min(len(xs), _MAX_POINTS) + 1).round().astype(int)
    parts = [slice(start, stop) for start, stop in pairwise(edges)]
    return replace(
        line,
        xs=[float(xs[part].mean()) for part in parts],
        ys=[float(ys[part].mean()) for part in parts],
    )


def _scale(value: float, source: Range, target: Range) -> float:
    """Map a value from one range to another; one decimal is enough for pixels."""
    share = (value - source[0]) / ((source[1] - source[0]) or 1.0)
    return round(target[0] + share * (target[1] - target[0]), 1)
