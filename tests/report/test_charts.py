"""Geometry of the line charts."""

import re

import pytest

from ssd_core.report.charts import Line, line_chart


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
