"""The watchdog: every command and step has one, long work reports to it, waiting does not count."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ssd_core.benchmark.speed import generate_images, measure_speed
from ssd_core.data.checking.duplicates import find_near_images
from ssd_core.data.sources.folder import FolderSource
from ssd_core.errors import UsageError
from ssd_core.process import watchdog
from ssd_core.store.local import file_sha256, walk
from tests.benchmark.test_speed import BrightestSpot

WORK: dict[str, Callable[[Path], object]] = {
    "hash": lambda folder: file_sha256(folder / "a.txt"),
    "walk": lambda folder: list(walk(folder)),
    "list a source": lambda folder: FolderSource(folder).files,
    "read a source": lambda folder: FolderSource(folder).read("a.txt"),
    "benchmark": lambda _: measure_speed(
        BrightestSpot(), generate_images(1), batch_size=1, seconds=1e-9
    ),
    "compare images": lambda _: find_near_images([bytes(32), b"\xff" * 32]),
}


@pytest.mark.parametrize("name", WORK)
def test_long_work_tells_the_watchdog(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.txt").write_text("a")
    before = watchdog._last
    WORK[name](tmp_path)
    assert watchdog._last > before


STALL = """
import time
from ssd_core.process.watchdog import waiting
from ssd_core.stages.doorway import doorway

with doorway():
    with waiting():
        time.sleep(1)
    print("waited", flush=True)
    time.sleep(1000)
"""


def test_a_step_that_stalls_is_ended_but_not_one_that_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSD_STALL_MINUTES", "0.005")
    done = subprocess.run([sys.executable, "-c", STALL], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (75, "waited\n")
    assert "most recent call first" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: no progress for 0.005 minutes: ")


CROWD = """
import os, subprocess, sys, time
from ssd_core.process.watchdog import watch

os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
spin = [sys.executable, "-c", "import os; p = os.getppid()\\nwhile os.getppid() == p: pass"]
rivals = [subprocess.Popen(spin) for _ in range(9)]  # they end with this process
time.sleep(0.5)
started = time.monotonic()
with watch():
    while time.thread_time() < 0.6:
        pass
print(time.monotonic() - started)
"""


def test_a_process_that_waits_for_a_processor_does_not_stall(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Among nine others the work takes several times the limit, alone half of it."""
    monkeypatch.setenv("SSD_STALL_MINUTES", "0.02")
    done = subprocess.run([sys.executable, "-c", CROWD], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) > 0.02 * 60


@pytest.mark.parametrize("text", ["soon", "-1", "nan", "inf"])
def test_an_invalid_limit_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("SSD_STALL_MINUTES", text)
    message = f"SSD_STALL_MINUTES is '{text}'; expected a number of minutes, or 0 for no limit"
    with pytest.raises(UsageError, match=message), watchdog.watch():
        pass
