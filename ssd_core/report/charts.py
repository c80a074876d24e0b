"""Geometry of the charts on the pages; the templates turn it into SVG."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from ssd_core.structures import Array

ASPECT = 0.62
"""Height of a chart relative to its width."""
_MAX_POINTS = 300
_NUM_TICKS = 5

Range = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """The rectangle that values are drawn into, inside the view box of a chart; in pixels."""

    width: int
    """Of the view box."""
    height: int
    x_range: Range
    """Values at the left and at the right border."""
    y_range: Range
    """Values at the lower and at the upper border."""
    left: int = 46
    top: int = 10
    right_margin: int = 12
    bottom_margin: int = 34

    @property
    def right(self) -> int:
        """Place of the right border."""
        return self.width - self.right_margin

    @property
    def bottom(self) -> int:
        """Place of the lower border."""
        return self.height - self.bottom_margin

    def place_x(self, value: float) -> float:
        """Return the place of a value between left and right."""
        return _scale(value, self.x_range, (self.left, self.right))

    def place_y(self, value: float) -> float:
        """Return the place of a value between bottom and top."""
        return _scale(value, self.y_range, (self.bottom, self.top))


@dataclass(frozen=True, slots=True)
class Line:
    """One curve: values at positions."""

    name: str
    xs: Sequence[float] | Array
    ys: Sequence[float] | Array
    colour: str
    """Any CSS colour."""
    is_strong: bool = False
    """Drawn thicker, to stand out among many."""


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
    """What the mouse is told."""
    opacity: float = 1.0


@dataclass(frozen=True, slots=True)
class Point:
    """A ring around a place; in pixels of the view box."""

    x: float
    y: float
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """What is drawn; places are pixels of the view box."""

    title: str
    plot: Plot
    x_label: str
    y_label: str = ""
    x_ticks: tuple[tuple[float, str], ...]
    """Place and text."""
    y_ticks: tuple[tuple[float, str], ...]
    legend: tuple[tuple[str, str], ...] = ()
    """Name and colour."""
    rectangles: tuple[Rectangle, ...] = ()
    paths: tuple[tuple[Line, str], ...] = ()
    """Each line with its SVG path."""
    points: tuple[Point, ...] = ()


def line_chart(
    title: str,
    lines: Sequence[Line],
    *,
    x_label: str,
    x_range: Range | None = None,
    y_range: Range | None = None,
    width: int = 330,
) -> Chart:
    """Lay out a chart of one or more lines with at least one point each.

    Long lines are averaged down, so that a page stays small. Ranges that are not given cover the
    values; that of y begins at 0. `width` is that of the view box: as large as the chart is shown,
    so that its texts have the size of the page's. More than one line gets a legend.
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


def round_ticks(low: float, high: float) -> list[float]:
    """Return round numbers from `low` on; the last one is not below `high`."""
    span = (high - low) or abs(high) or 1.0
    magnitude = 10.0 ** math.floor(math.log10(span / _NUM_TICKS))
    step = next(magnitude * f for f in (1, 2, 5, 10) if span / (magnitude * f) <= _NUM_TICKS)
    first = math.ceil(low / step - 1e-9)
    return [round(k * step, 12) for k in range(first, math.ceil(high / step - 1e-9) + 1)]


def tick_text(value: float) -> str:
    """Write a number short."""
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


def _path(line: Line, plot: Plot) -> str:
    places = [(plot.place_x(x), plot.place_y(y)) for x, y in zip(line.xs, line.ys, strict=True)]
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places)


def _scale(value: float, source: Range, target: Range) -> float:
    share = (value - source[0]) / ((source[1] - source[0]) or 1.0)
    return target[0] + share * (target[1] - target[0])
