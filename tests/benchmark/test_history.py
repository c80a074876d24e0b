"""The history of a series, in a folder."""

import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from ssd_core.benchmark.history import Measurement, append, judge, noise_band, now, read_series
from ssd_core.errors import DataError
from ssd_core.store import LocalDirectory

CPU = {"device": "cpu", "device_name": "small", "batch_sizes": "1,8"}
EARLIER_FORMAT = Path(__file__).with_name("measurement_1.json")


def measurement(speed, run, *, is_stable=True, training=None, **changed):
    trained = {} if training is None else {"train_images_per_second": training}
    return Measurement(
        run=run,
        time=now(),
        conditions=CPU | changed,
        metrics={"images_per_second": speed, **trained},
        model={"recipe": "demo"},
        version="1",
        is_stable=is_stable,
    )


def measurements(speeds, **others):
    return [measurement(speed, f"run-{number}", **others) for number, speed in enumerate(speeds)]


QUIET = measurements([99.0, 100.0, 100.0, 100.0, 101.0])
NOISY = measurements([90.0, 96.0, 100.0, 104.0, 130.0])
"""Median 100; median absolute deviation 4, so the band is 3.5 x 1.4826 x 4 = 20.8."""


@pytest.mark.parametrize(
    ("earlier", "speed", "word"),
    [
        (QUIET, 95.1, "not distinguishable"),
        (QUIET, 104.9, "not distinguishable"),
        (QUIET, 94.9, "slower"),
        (QUIET, 105.1, "faster"),
        (QUIET, 80.0, "slower"),
        (NOISY, 79.3, "not distinguishable"),
        (NOISY, 79.2, "slower"),
        (NOISY, 120.7, "not distinguishable"),
        (NOISY, 120.8, "faster"),
    ],
)
def test_a_speed_is_compared_with_the_noise_of_earlier_runs(earlier, speed, word):
    verdict = judge(measurement(speed, "new"), earlier)
    assert (verdict.word, verdict.median, len(verdict.earlier)) == (word, 100.0, 5)
    assert f"{speed:.1f} images/s: {word}, {speed - 100:+.1f} % from 100.0" in verdict.describe()


def test_only_stable_runs_under_equal_conditions_count():
    other = [
        *measurements([1.0] * 5, device_name="large"),
        *measurements([1.0] * 5, is_stable=False),
        *[measurement(1.0, "new")] * 5,  # the run itself
        *QUIET[:3],
    ]
    verdict = judge(measurement(100.0, "new"), other)
    assert (verdict.word, verdict.median, len(verdict.earlier)) == ("not enough history", None, 3)
    assert verdict.describe().endswith("(3 of 5 runs)")
    verdict = judge(measurement(100.0, "new"), [*other, *QUIET])
    assert (verdict.word, len(verdict.earlier)) == ("not distinguishable", 8)


def test_an_unstable_run_is_not_judged():
    verdict = judge(measurement(1.0, "new", is_stable=False), QUIET)
    assert (verdict.word, verdict.median) == ("not stable", None)
    assert verdict.describe().endswith("neither judged nor compared with")


def test_a_lasting_change_becomes_the_normal_case():
    verdict = judge(measurement(50.0, "new"), [*QUIET * 4, *measurements([50.0] * 11)])
    assert (verdict.word, len(verdict.earlier)) == ("not distinguishable", 20)


def test_the_speed_that_lost_most_decides():
    earlier = measurements([100.0] * 5, training=10.0)
    for detector, training, metric in [
        (90.0, 5.0, "train_images_per_second"),
        (50.0, 9.0, "images_per_second"),
        (120.0, 9.0, "train_images_per_second"),
    ]:
        verdict = judge(measurement(detector, "new", training=training), earlier)
        assert (verdict.word, verdict.metric) == ("slower", metric)


@pytest.mark.parametrize("deviation", [0.01, 0.03])
def test_noise_is_not_distinguishable_and_a_fifth_less_speed_is_slower(deviation):
    """400 series of 12 runs, on a quiet and on a busy machine."""
    words = {1.0: [], 0.8: []}
    for seed in range(400):
        noise = 1 + deviation * np.random.default_rng(seed).standard_normal(13)
        earlier = measurements(100 * noise[:12])
        for speed, found in words.items():
            found.append(judge(measurement(speed * 100 * noise[12], "new"), earlier).word)
    assert words[1.0].count("not distinguishable") >= 0.97 * 400
    assert words[0.8].count("slower") >= 0.95 * 400


def test_single_outliers_do_not_move_the_band():
    assert noise_band([100, 100, 30, 100, 500, 101, 100]) == (100, 5.0)


@pytest.fixture
def series(tmp_path):
    return LocalDirectory(tmp_path / "series")


def test_measurements_come_back_in_order_and_each_run_once(series):
    for added in [*QUIET, QUIET[0]]:
        append(series, added, read_series(series))
    assert read_series(series) == QUIET
    names = [stored.key for stored in series.list()]
    assert names == [f"{number:06}.json" for number in range(1, 6)]


APPEND_TEN = """
import sys
from ssd_core.benchmark.history import Measurement, append
from ssd_core.store import Location

sys.stdout.write("ready"), sys.stdout.flush(), sys.stdin.read()
values = {"time": "", "conditions": {}, "metrics": {}, "model": {}, "version": "1"}
for number in range(10):
    append(Location.parse(sys.argv[1]), Measurement(run=f"{sys.argv[2]}-{number}", **values), [])
"""


def test_two_schedulers_that_race_lose_nothing(series):
    """Each measurement expects to be the first."""
    command = [sys.executable, "-c", APPEND_TEN, series.uri]
    start = partial(subprocess.Popen, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with start([*command, "a"]) as first, start([*command, "b"]) as second:
        for each in (first, second):
            assert each.stdout.read(5) == b"ready"
        for each in (first, second):
            each.stdin.close()
    assert (first.returncode, second.returncode) == (0, 0)
    found = [each.run for each in read_series(series)]
    assert sorted(found) == sorted(f"{name}-{number}" for name in "ab" for number in range(10))


def test_a_measurement_of_format_1_is_read_but_not_compared(series):
    series.put("000001.json", EARLIER_FORMAT.read_bytes())
    (earlier,) = read_series(series)
    assert (earlier.metrics["images_per_second"], earlier.is_stable) == (101.3, False)
    new = earlier.model_copy(update={"run": "new", "is_stable": True})
    assert judge(new, [earlier] * 5).word == "not enough history"
    assert new.changes_since(earlier) == []


def test_changes_name_what_may_explain_a_speed():
    before = QUIET[0].model_copy(update={"environment": {"torch": "2.14.0", "numpy": "2.3"}})
    versions = {"environment": {"torch": "2.15.0", "numpy": "2.3", "new": "1"}}
    after = QUIET[1].model_copy(update=versions | {"model": {"recipe": "other"}})
    assert after.changes_since(before) == [
        'recipe: "demo" -> "other"',
        'torch: "2.14.0" -> "2.15.0"',
    ]


@pytest.mark.parametrize("content", [b"", b"[]", b'{"run": "a"}'])
def test_a_damaged_file_is_named(series, content):
    series.put("000001.json", content)
    with pytest.raises(DataError, match=r"000001\.json: .*; expected a measurement"):
        read_series(series)
