"""The history of a series, in a folder."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from ssd_core.benchmark.history import Measurement, append, judge, now, read_series
from ssd_core.errors import DataError
from ssd_core.store import LocalDirectory

CPU = {"device": "cpu", "device_name": "small", "batch_sizes": "1,8"}


def measurement(speed, run, **changed):
    return Measurement(
        run=run,
        time=now(),
        conditions=CPU | changed,
        metrics={"images_per_second": speed},
        model={"recipe": "demo"},
        version="1",
    )


SERIES = [measurement(speed, f"run-{speed}") for speed in (90.0, 100.0, 130.0)]


@pytest.mark.parametrize(
    ("speed", "word"),
    [(100.0, "same"), (95.0, "same"), (105.0, "same"), (94.9, "slower"), (105.1, "faster")],
)
def test_a_result_is_compared_with_the_median(speed, word):
    verdict = judge(measurement(speed, "new"), SERIES, tolerance=0.05)
    assert (verdict.word, verdict.median, verdict.compared) == (word, 100.0, 3)
    assert f"is {word}: ".replace("is same", "is the same") in verdict.describe()
    assert "from 100.0, the median of 3 before" in verdict.describe()


def test_only_other_runs_under_equal_conditions_are_compared():
    other = [
        measurement(1.0, "other", device_name="large"),
        measurement(1.0, "other", batch_sizes="1"),
        measurement(1.0, "new"),  # the run itself
    ]
    verdict = judge(measurement(100.0, "new"), other, tolerance=0.05)
    assert (verdict.word, verdict.median, verdict.compared) == ("first", None, 0)
    assert "the first of the series" in verdict.describe()


@pytest.fixture
def series(tmp_path):
    return LocalDirectory(tmp_path / "series")


def test_measurements_come_back_in_order_and_each_run_once(series):
    for added in [*SERIES, SERIES[0]]:
        append(series, added, read_series(series))
    assert read_series(series) == SERIES
    names = [stored.key for stored in series.list()]
    assert names == ["000001.json", "000002.json", "000003.json"]


def test_none_is_lost_when_many_are_added_at_once(series):
    """Each of them expects to be the first."""
    added = [measurement(float(number), f"run-{number}") for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda each: append(series, each, []), added))
    assert sorted(each.run for each in read_series(series)) == [each.run for each in added]


@pytest.mark.parametrize("content", [b"", b"[]", b'{"run": "a"}'])
def test_a_damaged_file_is_named(series, content):
    series.put("000001.json", content)
    with pytest.raises(DataError, match=r"000001\.json: .*; expected a measurement"):
        read_series(series)
