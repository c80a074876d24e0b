"""A command in a process group of its own, of which nothing stays behind."""

import os
import queue
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ProcessGroup:
    """A running command with its descendants."""

    process: "subprocess.Popen[str]"
    lines: "queue.Queue[str | None]" = field(default_factory=queue.Queue)
    """What they print, line by line; None when the command has ended."""

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to every process of the group; one that has ended gets none."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def read(self) -> None:
        """Put everything that is printed into the queue."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.put(line)
        self.process.wait()
        self.lines.put(None)


@contextmanager
def process_group(command: Sequence[str]) -> Iterator[ProcessGroup]:
    """Run `command` while the block runs, and then end what is left of its group.

    Its standard input stays open and empty as long as this process lives; see `end_with_parent`.
    """
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    ) as process:
        group = ProcessGroup(process)
        reader = threading.Thread(target=group.read, daemon=True)
        reader.start()
        try:
            yield group
        finally:
            group.signal(signal.SIGKILL)
            reader.join()


def end_with_parent() -> None:
    """End the whole group of this process when its parent is gone, by whatever means.

    Called in the command that `process_group` runs. It waits for the end of standard input, which
    the system closes even for a parent that was killed.
    """

    def wait() -> None:
        while os.read(0, 1):
            pass
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=wait, daemon=True).start()
