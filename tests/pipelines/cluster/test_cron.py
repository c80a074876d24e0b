"""Cron lines as the scheduler of Kubeflow Pipelines reads them."""

from datetime import datetime
from itertools import islice

import pytest

from pipelines.cluster.cron import read_cron
from ssd_core.errors import UsageError

NOW = datetime(2026, 11, 21, 15, 4, 5)


@pytest.mark.parametrize(
    ("line", "times"),
    [
        ("0 0 3 * * *", ["2026-11-22T03:00:00", "2026-11-23T03:00:00"]),
        ("0 */15 * * * *", ["2026-11-21T15:15:00", "2026-11-21T15:30:00"]),
        ("30 5/20 * ? * *", ["2026-11-21T15:05:30", "2026-11-21T15:25:30"]),
        ("0 0 6-18/4 * * mon-fri", ["2026-11-23T06:00:00", "2026-11-23T10:00:00"]),
        ("0 0 9 1,15 * *", ["2026-12-01T09:00:00", "2026-12-15T09:00:00"]),
        ("0 0 0 29 2 *", ["2028-02-29T00:00:00"]),
        ("0 0 0 31 jan,apr ?", ["2027-01-31T00:00:00", "2028-01-31T00:00:00"]),
        ("* * * * * *", ["2026-11-21T15:04:06", "2026-11-21T15:04:07"]),
        ("59 59 23 31 12 ?", ["2026-12-31T23:59:59", "2027-12-31T23:59:59"]),
        # Without a star in the day fields, a day has to match only one of them.
        ("0 0 9 13 * FRI", ["2026-11-27T09:00:00", "2026-12-04T09:00:00"]),
        ("0 0 0 30 2 1", ["2027-02-01T00:00:00", "2027-02-08T00:00:00"]),
        # A star with a step is still a star.
        ("0 0 9 */10 * 1", ["2026-12-21T09:00:00", "2027-01-11T09:00:00"]),
    ],
)
def test_times_equal_those_of_the_scheduler(line: str, times: list[str]) -> None:
    """The expected times come from robfig/cron v1.2.0."""
    found = read_cron(line, NOW).times_after(NOW)
    assert [time.isoformat() for time in islice(found, 2)] == times


@pytest.mark.parametrize(
    "line",
    [
        "0 0 3 * * 7",
        "0 60 * * * *",
        "0 0 24 * * *",
        "0 0 0 0 * *",
        "0 0 0 1 13 *",
        "0 0 5-3 * * *",
        "0 0/0 * * * *",
        "0 0 3 * * mon-",
        "0 0 3 * foo *",
        "0 0 3 -1 * *",
        "0 0 3 1-2-3 * *",
        "0 0 3/2/2 * * *",
        "0 0 1.5 * * *",
        "0 0 3 * * Monday",
        "0 0 \u0663 * * *",
    ],
)
def test_refuses_the_same_lines_as_the_scheduler(line: str) -> None:
    with pytest.raises(UsageError, match=r"^cron: .* '.*'; expected "):
        read_cron(line, NOW)


def test_wrong_value_is_named_with_the_range_of_its_field() -> None:
    with pytest.raises(UsageError) as raised:
        read_cron("0 0 3 * * mon-7", NOW)
    assert str(raised.value) == (
        "cron: day of week 'mon-7'; expected 0-6 or sun-sat, a range 1-3, a step */2, or a list of "
        "these with commas"
    )


@pytest.mark.parametrize("line", ["0 0 3 30 2 *", "0 0 3 31 4,6,9,nov ?"])
def test_date_that_never_occurs_is_refused(line: str) -> None:
    with pytest.raises(UsageError, match="never fires"):
        read_cron(line, NOW)


def test_five_fields_are_refused_with_the_corrected_line() -> None:
    with pytest.raises(UsageError, match=r"has five fields.*write '0 30 3 \* \* 1'$"):
        read_cron("30 3 * * 1", NOW)


@pytest.mark.parametrize("line", ["", "every day", "@daily", "0 0 3 * * * *"])
def test_another_number_of_fields_is_refused(line: str) -> None:
    with pytest.raises(UsageError, match="expected six fields: second minute hour"):
        read_cron(line, NOW)


def test_whitespace_is_ignored() -> None:
    assert read_cron("  0 0\t3 *  * * ", NOW).line == "0 0 3 * * *"
