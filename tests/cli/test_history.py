"""`ssd history`, on a series with a slow run and a record of format 1."""

import json
from pathlib import Path

import pytest

from ssd_core.benchmark.history import append, read_series
from ssd_core.store import LocalDirectory
from tests.benchmark.test_history import EARLIER_FORMAT
from tests.commands import call_ssd

SPEEDS = (100.0, 101.0, 99.0, 100.0, 100.0, 80.0)


@pytest.fixture
def series(tmp_path: Path) -> Path:
    location = LocalDirectory(tmp_path)
    location.put("000001.json", EARLIER_FORMAT.read_bytes())
    (first,) = read_series(location)
    for number, speed in enumerate(SPEEDS):
        changes = {
            "run": f"night-{number}",
            "is_stable": True,
            "metrics": {"images_per_second": speed, "ap": 0.5},
            "environment": {"torch": "2.15.0" if speed == 80 else "2.14.0"},
        }
        append(location, first.model_copy(update=changes), read_series(location))
    return tmp_path


def test_a_line_per_measurement_ends_with_its_verdict(series: Path) -> None:
    done = call_ssd("history", series)
    assert done.returncode == 0, done.stderr
    titles, *lines, slow, change, note = done.stdout.splitlines()
    assert titles.split()[:5] == ["time", "run", "model", "AP", "images/s"]
    assert "images/s (fastest batch)  latency (smallest batch)" in titles
    assert lines[0].startswith(
        "2026-11-21 03:00:12  a1b2c3d4e5f60718  demo, 600 steps  –      101.3"
    )
    assert lines[0].endswith("not stable")
    assert all(line.endswith("not enough history") for line in lines[1:])
    assert len(lines) == len(SPEEDS)
    assert "95.0 to 105.0" in slow
    assert slow.endswith("slower")
    assert "  0.500  80.0" in slow
    assert note.startswith("not stable: ")
    assert note.endswith("neither judged nor compared with")
    assert change.strip() == 'torch: "2.14.0" -> "2.15.0"'


def test_the_same_as_json(series: Path) -> None:
    found = json.loads(call_ssd("history", series, "--json").stdout)
    assert [each["metrics"]["images_per_second"] for each in found] == [101.3, *SPEEDS]
    verdict = found[-1]["verdict"]
    assert (verdict["word"], verdict["median"], verdict["margin"]) == ("slower", 100, 5)
    assert verdict["earlier"] == list(SPEEDS[:-1])
