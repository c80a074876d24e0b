"""Progress with and without a terminal."""

import io
import os
import subprocess
import sys

import pytest

from ssd_core.logs import Progress, format_duration


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0 s"), (59.4, "59 s"), (59.6, "1:00 min"), (185, "3:05 min"), (7385, "2:03:05 h")],
)
def test_format_duration(seconds, text):
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("columns", "line"),
    [
        (80, "████████████░░░░░░░░░░░░ train 5/10, loss 1.50, 0 s left"),
        (40, "████░░░ train 5/10, loss 1.50, 0 s left"),
        (32, "train 5/10, loss 1.50, 0 s left"),
        (20, "train 5/10, loss 1."),
    ],
)
def test_progress_redraws_one_line_on_a_terminal(monkeypatch, columns, line):
    monkeypatch.setenv("COLUMNS", str(columns))
    stream = Terminal()
    with Progress("train", 10, stream=stream) as progress:
        progress.update(5, "loss 1.50")
    assert stream.getvalue().split("\r\x1b[K") == ["", line, ""]


def test_a_log_line_replaces_the_bar_on_a_terminal():
    """The bar is redrawn below it."""
    code = (
        "from ssd_core.logs import Progress, logger, set_up_logging\n"
        "set_up_logging()\n"
        "with Progress('train', 2) as progress:\n"
        "    progress.update(1)\n"
        "    logger.warning('look')\n"
    )
    terminal, end = os.openpty()
    subprocess.run([sys.executable, "-c", code], stderr=end, check=True)
    os.close(end)
    shown = os.read(terminal, 1000).decode()
    os.close(terminal)
    assert shown.endswith("\r\x1b[Kwarning: look\r\n\r\x1b[K")


def test_progress_is_silent_for_short_work_without_a_terminal():
    stream = io.StringIO()
    with Progress("train", 10, stream=stream) as progress:
        for done in range(10):
            progress.update(done)
    assert stream.getvalue() == ""
