"""Layout of the charts."""

import re

import numpy as np
import pytest

from ssd_core.report.charts import Line, Series, bar_chart, heat_map, line_chart

A, B = Series("a", [1, 0, 4], "red"), Series("b", [3, 2, 0], "blue")


def draw(xs, ys, **options):
    """Return the chart of one line, and the points of its path in pixels."""
    options = {"x_range": (xs[0], xs[-1])} | options
    chart = line_chart("t", [Line("a", xs, ys, "red")], x_label="x", **options)
    [line] = chart.lines
    pairs = re.split("[ML]", chart.path(line))[1:]
    return chart, [tuple(map(float, pair.split())) for pair in pairs]


def bars(*series, **options):
    """Return the chart, and the spans of x and y of each bar."""
    chart = bar_chart("t", series, labels=("x", "y"), x_ticks=[(0.5, "0")], **options)
    return chart, {bar.name: (bar.x_span, bar.y_span) for bar in chart.rectangles}


def test_corners_of_the_range_are_corners_of_the_plot():
    chart, points = draw([0, 1], [0, 1], y_range=(0, 1))
    assert points == [(chart.left, chart.bottom), (chart.right, chart.top)]


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([3, 9.3, 5], ["2", "4", "6", "8", "10"]),
        ([0, 4e-5], ["0", "1e-5", "2e-5", "3e-5", "4e-5"]),
        ([5.0], ["5"]),
        ([0.0], None),
        ([0.0, 0.0], None),
    ],
)
def test_y_spans_the_values_between_round_numbers(values, ticks):
    chart, points = draw(range(len(values)), values)
    assert len(points) == max(2, len(values)), "a path of one point is invisible"
    assert ticks is None or [text for _, text in chart.y_ticks] == ticks
    heights = [chart.place_y(value) for value, _ in chart.y_ticks] + [y for _, y in points]
    assert all(chart.top <= y <= chart.bottom for y in heights)


@pytest.mark.parametrize(
    ("last", "texts"),
    [
        (800, ["0", "200", "400", "600", "800"]),
        (219_900, ["0", "50k", "100k", "150k", "200k"]),
        (7, ["0", "2", "4", "6"]),
        (2, ["0", "1", "2"]),
    ],
)
def test_ticks_of_steps_are_round_and_inside(last, texts):
    chart, _ = draw([0, last], [1, 2])
    assert [text for _, text in chart.x_ticks] == texts


def test_long_lines_are_averaged_down():
    chart, points = draw(range(10_000), [step % 2 for step in range(10_000)])
    [short] = chart.lines
    assert len(points) <= 300
    assert short.ys == pytest.approx([0.5] * len(short.ys), abs=0.05)
    assert short.xs[0] < short.xs[-1]


def test_bars_of_several_series_are_next_to_each_other():
    chart, found = bars(A, B)
    assert set(found) == {"a 1", "a 4", "b 3", "b 2"}  # no bar for 0
    assert [found[name][1] for name in ("a 1", "b 3")] == [(0, 1), (0, 3)]
    assert found["a 1"][0] == pytest.approx((0.08, 0.5))
    assert found["b 3"][0] == pytest.approx((0.5, 0.92))
    assert found["b 2"][0] == pytest.approx((1.5, 1.92))
    assert [text for _, text in chart.y_ticks] == ["0", "1", "2", "3", "4"]
    assert chart.legend == (A, B)


def test_one_series_needs_no_legend_and_no_values_no_bars():
    chart, found = bars(Series("a", [0, 0], "red"))
    assert (chart.legend, found) == ((), {})


def test_cells_of_a_map_are_more_opaque_for_higher_counts():
    counts = np.zeros((4, 4), np.int64)
    counts[0, 0], counts[1, 0], counts[3, 3] = 1, 1000, 10
    ring = (4, 4, "corner")
    chart = heat_map("t", counts, [ring], labels=("w", "h"), ticks=[(2, "50")])
    first, second, last = chart.rectangles
    assert (first.x_span, first.y_span) == ((0, 1), (0, 1))
    assert (last.x_span, last.y_span) == ((3, 4), (3, 4))
    assert 0 < first.opacity < last.opacity < second.opacity == 1
    assert second.name == "1,000 objects"
    assert chart.rings == (ring,)
    assert (chart.place_x(4), chart.place_y(4)) == (chart.right, chart.top)
