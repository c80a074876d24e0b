"""Geometry of bars and maps."""

import numpy as np
import pytest

from ssd_core.report.histograms import Series, bar_chart, heat_map

A, B = Series("a", [1, 0, 4], "red"), Series("b", [3, 2, 0], "blue")


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
