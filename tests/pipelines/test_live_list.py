"""The list of steps on a terminal and elsewhere."""

import io
import re

import pytest

from pipelines.live_list import PlainView, TerminalView, open_view
from pipelines.steps import State, Step


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def steps() -> list[Step]:
    return [
        Step("resolve_config", State.DONE, 0, 1),
        Step("train", State.RUNNING, 1, said="step 3/10, loss 2.50, 1:00 min left"),
        Step("report"),
    ]


def test_list_on_a_terminal(steps: list[Step], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    stream = Terminal()
    TerminalView(stream).draw(steps, 42)
    assert re.sub(r"\x1b\[[KJ]", "", stream.getvalue()).splitlines() == [
        "✓ resolve_config  0:01",
        "▸ train           0:41  step 3/10, loss 2.50, 1:00 min left",
        "· report",
    ]


def test_list_is_drawn_over_itself(steps: list[Step], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    stream = Terminal()
    view = TerminalView(stream)
    view.draw(steps, 42)
    first = stream.getvalue()
    view.draw(steps, 43)
    second = stream.getvalue().removeprefix(first)
    assert second.startswith("\x1b[3F")
    assert first.splitlines()[1] == "▸ train           0:41  step 3/10, los…\x1b[K"


def test_lines_elsewhere(steps: list[Step]) -> None:
    stream = io.StringIO()
    view = PlainView(stream)
    view.draw(steps, 42)
    view.draw(steps, 43)
    steps[1].state, steps[1].said, steps[1].ended = State.DONE, "loss 1.90", 121
    view.draw(steps, 122)
    assert stream.getvalue().splitlines() == [
        "resolve_config: done after 1 s",
        "train: step 3/10, loss 2.50, 1:00 min left",
        "train: done after 2:00 min, loss 1.90",
    ]


def test_the_stream_decides() -> None:
    assert isinstance(open_view(Terminal()), TerminalView)
    assert isinstance(open_view(io.StringIO()), PlainView)
