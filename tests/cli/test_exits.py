"""The last words of a process whose exit code a launcher of several processes hides."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


def run_ssd(words: str, termination_log: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "ssd_core.cli", *words.split()],
        env=os.environ | {"SSD_TERMINATION_LOG": str(termination_log)},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    ("words", "code", "end"),
    [
        ("recipes dmo", 2, "unknown recipe 'dmo'; did you mean 'demo'? (exit 2)"),
        ("recipes demo --fast", 2, "recipes --help') (exit 2)"),
        ("verify nowhere", 2, "(exit 2)"),
    ],
)
def test_the_first_error_is_left_in_the_termination_log(
    words: str, code: int, end: str, tmp_path: Path
) -> None:
    log = tmp_path / "termination-log"
    for _ in range(2):
        done = run_ssd(words, log)
        assert done.returncode == code
    first, second = log.read_text().splitlines()
    assert first == second
    assert first.startswith("error: ")
    assert first.endswith(end)
    assert first.removesuffix(f" (exit {code})") in done.stderr


def test_a_success_leaves_nothing(tmp_path: Path) -> None:
    log = tmp_path / "termination-log"
    assert run_ssd("recipes demo", log).returncode == 0
    assert not log.exists()


def test_a_log_that_cannot_be_written_changes_nothing(tmp_path: Path) -> None:
    done = run_ssd("recipes dmo", tmp_path / "nowhere" / "log")
    assert done.returncode == 2
    assert done.stderr.splitlines() == ["error: unknown recipe 'dmo'; did you mean 'demo'?"]
