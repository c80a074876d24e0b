"""Nothing of a group stays behind, however its parent ends."""

import os
import signal
import subprocess
import sys

import pytest

from pipelines.process_group import process_group
from tests.processes import is_alive, wait_until_gone

LEAVE_A_CHILD = "import subprocess; print(subprocess.Popen(['sleep', '1000']).pid, flush=True)"


def test_lines_come_in_order_and_end_with_none() -> None:
    with process_group(["sh", "-c", "echo a; echo b >&2; printf c"]) as group:
        assert [group.lines.get(timeout=60) for _ in range(4)] == ["a\n", "b\n", "c", None]


def test_bytes_that_are_no_text_do_no_harm() -> None:
    with process_group(["printf", r"\377\n"]) as group:
        assert group.lines.get(timeout=60) == "\N{REPLACEMENT CHARACTER}\n"


def test_descendants_end_with_the_block() -> None:
    with process_group([sys.executable, "-c", LEAVE_A_CHILD]) as group:
        pid = int(group.lines.get(timeout=60) or "")
        assert is_alive(pid)
    wait_until_gone(pid)


def test_an_error_in_the_block_ends_them_too() -> None:
    with pytest.raises(KeyboardInterrupt), process_group(["sleep", "1000"]) as group:
        raise KeyboardInterrupt
    assert group.process.returncode == -signal.SIGKILL


def test_the_group_ends_when_the_parent_is_killed() -> None:
    child = (
        "from pipelines.process_group import end_with_parent; end_with_parent();"
        f"{LEAVE_A_CHILD}; import time; time.sleep(1000)"
    )
    parent = (
        "import sys; from pipelines.process_group import process_group\n"
        "with process_group([sys.executable, '-c', sys.argv[1]]) as group:\n"
        "    print(group.process.pid, group.lines.get(), flush=True)\n"
        "    group.process.wait()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", parent, child], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        pids = [int(pid) for pid in process.stdout.readline().split()]
        assert len(pids) == 2
        assert all(map(is_alive, pids))
        os.kill(process.pid, signal.SIGKILL)
    for pid in pids:
        wait_until_gone(pid)
