"""The list of steps on a terminal and elsewhere."""

import io
import re
import time

import pytest

from pipelines.execution.live_list import LiveList, State


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def fill(stream: io.StringIO) -> LiveList:
    """Return a list with a finished, a running and a waiting step."""
    steps, now = LiveList(("resolve_config", "train", "report"), stream), time.monotonic()
    first, second, _ = steps.rows.values()
    first.state, first.begun, first.ended = State.DONE, now - 42.5, now - 41.5
    second.state, second.begun = State.RUNNING, now - 41.5
    second.text = "step 3/10, loss 2.50, 1:00 min left"
    return steps


def test_list_is_redrawn_in_place_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    stream = Terminal()
    steps = fill(stream)
    steps.draw()
    first = stream.getvalue()
    assert re.sub(r"\x1b\[[KJ]", "", first).splitlines() == [
        "✓ resolve_config  0:01",
        "▸ train           0:41  step 3/10, loss 2.50, 1:00 min left",
        "· report",
    ]
    monkeypatch.setenv("COLUMNS", "40")
    steps.draw()
    second = stream.getvalue().removeprefix(first)
    assert second.startswith("\x1b[3F")
    assert second.splitlines()[1] == "▸ train           0:41  step 3/10, los…\x1b[K"


def test_lines_elsewhere() -> None:
    stream = io.StringIO()
    steps = fill(stream)
    steps.draw()
    steps.draw()
    steps.end("train", State.DONE, "loss 1.90")
    steps.begin("report")
    steps.end("report", State.FAILED, "")
    assert stream.getvalue().splitlines() == [
        "resolve_config: done after 1 s",
        "train: step 3/10, loss 2.50, 1:00 min left",
        "train: done after 42 s, loss 1.90",
        "report: begins",
        "report: failed after 0 s",
    ]
