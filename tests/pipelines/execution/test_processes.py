"""Nothing of a command stays behind, however it or its parent ends."""

import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.execution.processes import run_line
from tests.processes import is_alive, wait_until_gone
from tests.store.s3_servers import wait_until

SAVE_ON_STOP = "trap 'echo saved > \"$1\"; exit 143' TERM; sleep 1000 & echo $! >&2; wait"
PARENT = """
import sys
from pathlib import Path
from pipelines.execution.processes import run_line
run_line(sys.argv[1], cleanup=sys.argv[2], on_line=lambda line: print(line, end="", flush=True))
"""


def shell(script: str, *arguments: str) -> str:
    return shlex.join(["sh", "-c", script, "sh", *arguments])


def test_lines_come_in_order_with_the_exit_code(tmp_path: Path) -> None:
    lines: list[str] = []
    with (tmp_path / "stdout").open("w") as stdout:
        script = r"echo out; echo a >&2; printf '\377\nc' >&2; exit 3"
        assert run_line(shell(script), stdout=stdout, on_line=lines.append) == 3
    assert lines == ["a\n", "\N{REPLACEMENT CHARACTER}\n", "c"]
    assert (tmp_path / "stdout").read_text() == "out\n"


def test_descendants_end_with_the_command(tmp_path: Path) -> None:
    """Also one that keeps the standard error open."""
    lines: list[str] = []
    cleaned = tmp_path / "cleaned"
    line, cleanup = shell("sleep 1000 & echo $! >&2"), f"touch {shlex.quote(str(cleaned))}"
    assert run_line(line, cleanup=cleanup, on_line=lines.append) == 0
    wait_until_gone(int(lines[0]))
    assert wait_until(cleaned.exists)


def test_descendants_end_with_an_error_of_the_caller() -> None:
    pids: list[int] = []

    def fail(line: str) -> None:
        pids.append(int(line))
        raise ValueError(line)

    with pytest.raises(ValueError, match=r"\d"):
        run_line(shell("echo $$ >&2; sleep 1000"), on_line=fail)
    wait_until_gone(*pids)


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
        [sys.executable, "-c", PARENT, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        assert is_alive(pid)
        process.send_signal(number)
        _, errors = process.communicate()
    wait_until_gone(pid)
    assert wait_until(cleaned.exists)
    assert saved.exists() == is_saved
    assert ("StoppedError" in errors) == (number == signal.SIGTERM)
