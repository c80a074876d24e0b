"""Nothing of a command stays behind, however it or its parent ends."""

import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.execution.processes import Listener, run_line
from tests.processes import is_alive, wait_until_gone
from tests.store.servers import wait_until

SAVE_ON_STOP = "trap 'echo saved > \"$1\"; exit 143' TERM; sleep 1000 & echo $! >&2; wait"
PARENT = """
import sys
from pipelines.execution.processes import Listener, run_line
run_line(sys.argv[1], Listener(), cleanup=sys.argv[2])
"""


class Lines(Listener):
    """Keeps the lines, and can fail."""

    def __init__(self, *, fails: bool = False) -> None:
        self.lines: list[str] = []
        self._fails = fails

    def on_line(self, line: str) -> None:
        self.lines.append(line)
        if self._fails:
            raise ValueError(line)


def shell(script: str, *arguments: str) -> str:
    return shlex.join(["sh", "-c", script, "sh", *arguments])


def test_lines_come_in_order_with_the_exit_code(tmp_path: Path) -> None:
    listener = Lines()
    with (tmp_path / "stdout").open("w") as stdout:
        script = shell(r"echo out; echo a >&2; printf '\n\377\nc' >&2; exit 3")
        ended = run_line(script, listener, stdout=stdout)
    assert listener.lines == ["a\n", "\n", "\N{REPLACEMENT CHARACTER}\n", "c"]
    assert ended == (3, ("a", "\N{REPLACEMENT CHARACTER}", "c"))
    assert (tmp_path / "stdout").read_text() == "out\n"


def test_descendants_end_with_the_command(tmp_path: Path) -> None:
    """Also one that keeps the standard error open."""
    cleaned = tmp_path / "cleaned"
    cleanup = f"touch {shlex.quote(str(cleaned))}"
    code, (pid,) = run_line(shell("sleep 1000 & echo $! >&2"), Lines(), cleanup=cleanup)
    assert code == 0
    wait_until_gone(int(pid))
    assert wait_until(cleaned.exists)


def test_descendants_end_with_an_error_of_the_caller() -> None:
    listener = Lines(fails=True)
    with pytest.raises(ValueError, match=r"\d"):
        run_line(shell("echo $$ >&2; sleep 1000"), listener)
    wait_until_gone(int(listener.lines[0]))


@pytest.mark.parametrize(
    ("number", "is_saved"),
    [(signal.SIGINT, True), (signal.SIGTERM, True), (signal.SIGKILL, False)],
)
def test_the_group_ends_with_its_parent(
    number: signal.Signals, is_saved: bool, tmp_path: Path
) -> None:
    saved, cleaned = tmp_path / "saved", tmp_path / "cleaned"
    words = [shell(SAVE_ON_STOP, str(saved)), f"touch {shlex.quote(str(cleaned))}"]
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, *words], stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        pid = int(process.stderr.readline())
        assert is_alive(pid)
        process.send_signal(number)
        _, errors = process.communicate()
    wait_until_gone(pid)
    assert wait_until(cleaned.exists)
    assert saved.exists() == is_saved
    assert ("StoppedError" in errors) == (number == signal.SIGTERM)
