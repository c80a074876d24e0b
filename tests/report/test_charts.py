"""Geometry of the charts."""

import re

import numpy as np
import pytest

from ssd_core.report.charts import Line, Series, bar_chart, heat_map, line_chart

A, B = Series("a", [1, 0, 4], "red"), Series("b", [3, 2, 0], "blue")


def points(path):
    return [tuple(map(float, pair.split())) for pair in re.split("[ML]", path)[1:]]


def test_corners_of_the_range_are_corners_of_the_plot():
    chart = line_chart(
        "t", [Line("a", [0, 1], [0, 1], "red")], x_label="x", x_range=(0, 1), y_range=(0, 1)
    )
    [(_, path)] = chart.paths
    assert points(path) == [
        (chart.plot.left, chart.plot.bottom),
        (chart.plot.right, chart.plot.top),
    ]


def test_y_begins_at_zero_and_ends_on_a_round_number_above_the_values():
    chart = line_chart("t", [Line("a", [1, 2, 3], [3, 9.3, 5], "red")], x_label="x")
    assert [text for _, text in chart.y_ticks] == ["0", "2", "4", "6", "8", "10"]
    assert all(chart.plot.top <= y <= chart.plot.bottom for y, _ in chart.y_ticks)
    [(_, path)] = chart.paths
    assert all(chart.plot.top <= y <= chart.plot.bottom for _, y in points(path))


@pytest.mark.parametrize(
    ("last", "texts"),
    [
        (800, ["0", "200", "400", "600", "800"]),
        (219_900, ["0", "50k", "100k", "150k", "200k"]),
        (7, ["0", "2", "4", "6"]),
    ],
)
def test_ticks_of_steps_are_round_and_inside(last, texts):
    line = Line("a", [0, last], [1, 2], "red")
    chart = line_chart("t", [line], x_label="step", x_range=(0, last))
    assert [text for _, text in chart.x_ticks] == texts


def test_small_rates_are_written_short():
    chart = line_chart("t", [Line("a", [0, 1], [0, 4e-5], "red")], x_label="x")
    assert chart.y_ticks[1][1] == "1e-5"


@pytest.mark.parametrize("values", [[0.0], [5.0], [0.0, 0.0]])
def test_a_single_point_or_a_flat_line_is_drawn(values):
    chart = line_chart("t", [Line("a", range(len(values)), values, "red")], x_label="x")
    [(_, path)] = chart.paths
    assert all(chart.plot.top <= y <= chart.plot.bottom for _, y in points(path))


def test_long_lines_are_averaged_down():
    line = Line("a", range(10_000), [step % 2 for step in range(10_000)], "red")
    [(short, path)] = line_chart("t", [line], x_label="x").paths
    assert len(points(path)) <= 300
    assert short.ys == pytest.approx([0.5] * len(short.ys), abs=0.05)
    assert short.xs[0] < short.xs[-1]


def bars(**options):
    return bar_chart("t", [A, B], labels=("x", "y"), x_ticks=[(0.5, "0")], **options)


def find(chart, name):
    [bar] = [bar for bar in chart.rectangles if bar.name == name]
    return bar


def test_bars_stand_beside_each_other_on_the_axis():
    chart = bars()
    one, three, two, four = (find(chart, name) for name in ("a 1", "b 3", "b 2", "a 4"))
    assert len(chart.rectangles) == 4  # nothing is drawn for nothing
    assert [bar.y + bar.height for bar in chart.rectangles] == [chart.plot.bottom] * 4
    assert three.height == pytest.approx(3 * one.height, abs=0.2)
    assert one.x + one.width == pytest.approx(three.x, abs=0.2)
    assert three.x < two.x < four.x
    assert four.y == chart.plot.top
    assert chart.legend == (("a", "red"), ("b", "blue"))


def test_stacked_bars_stand_on_top_of_each_other():
    chart = bars(is_stacked=True)
    one, three = find(chart, "a 1"), find(chart, "b 3")
    assert (one.x, one.width) == (three.x, three.width)
    assert three.y + three.height == pytest.approx(one.y, abs=0.2)


def test_ticks_count_in_bins():
    chart = bars()
    assert chart.x_ticks == ((chart.plot.place_x(0.5), "0"),)
    assert [text for _, text in chart.y_ticks] == ["0", "1", "2", "3", "4"]


def test_one_series_needs_no_legend_and_no_values_no_bars():
    nothing = Series("a", [0, 0], "red")
    chart = bar_chart("t", [nothing], labels=("x", "y"), x_ticks=[])
    assert (chart.legend, chart.rectangles) == ((), ())


def test_cells_touch_and_are_the_stronger_the_more_they_count():
    counts = np.zeros((4, 4), np.int64)
    counts[0, 0], counts[1, 0], counts[3, 3] = 1, 1000, 10
    chart = heat_map("t", counts, [(4, 4, "corner")], labels=("w", "h"), ticks=[(2, "50")])
    first, second, last = chart.rectangles
    assert (first.x, first.y + first.height) == (chart.plot.left, chart.plot.bottom)
    assert first.x + first.width == pytest.approx(second.x)
    assert (last.x + last.width, last.y) == (chart.plot.right, chart.plot.top)
    assert 0 < first.opacity < last.opacity < second.opacity == 1
    assert second.name == "1,000 objects"
    [ring] = chart.points
    assert (ring.x, ring.y, ring.name) == (chart.plot.right, chart.plot.top, "corner")
