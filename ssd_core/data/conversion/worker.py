"""Worker processes of a conversion: `python -m ssd_core.data.conversion.worker`.

A worker is a program of its own, so that it needs neither the modules nor the semaphores of its
parent. It receives a conversion and then tasks, and sends None after every image, and the packed
part or an error at the end of each task. It ends when its parent does.
"""

import signal
import subprocess
import sys
from collections.abc import Callable
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, TypeAlias

from ssd_core.errors import CrashedError, SsdError, TransientError, explain

if TYPE_CHECKING:
    from ssd_core.data.conversion.journal import PackedPart
    from ssd_core.data.conversion.part import Conversion, Part
    from ssd_core.data.formats.dataset import SourceSplit

Task: TypeAlias = "tuple[Part, SourceSplit, bool]"
"""A part, its images, and whether they are written or only checked."""
_READY = "ready"


class Worker:
    """A worker process, as its parent sees it."""

    def __init__(self, conversion: "Conversion") -> None:
        self._conversion = conversion
        self._is_ready = False
        self._messages, theirs = Pipe()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # the parent handles Ctrl-C
            )

    def pack(self, task: "Task", on_image: Callable[[], None]) -> "PackedPart":
        """Let the process pack a part; `on_image` is called after each image.

        Raises:
            TransientError: the process could not start, or was killed.
            SsdError: the error that has ended the process.
        """
        if not self._is_ready:
            self._is_ready = self._receive(self._conversion) == _READY
        message = self._receive(task)
        while message is None:
            on_image()
            message = self._receive()
        packed: PackedPart = message
        return packed

    def close(self) -> None:
        """End the process, which finishes its present image."""
        self._messages.close()
        self._process.wait()

    def _receive(self, *requests: object) -> Any:
        """Send the requests, and return the next message."""
        try:
            for request in requests:
                self._messages.send(request)
            message = self._messages.recv()
        except (EOFError, ConnectionError):
            raise self._explain_end() from None
        if isinstance(message, SsdError):
            raise message
        return message

    def _explain_end(self) -> SsdError:
        code = self._process.wait()
        if code >= 0 and self._is_ready:
            return CrashedError("a worker process of the conversion has failed; its error is above")
        end = f"was killed by {signal.Signals(-code).name}" if code < 0 else "could not start"
        return TransientError(
            f"a worker process of the conversion {end}, perhaps for lack of memory; repeat the "
            "command with fewer --workers, or raise the limit"
        )


def _work(messages: "Connection[Any, Any]") -> None:
    """Pack the parts that the parent sends until it ends."""
    conversion = messages.recv()
    from ssd_core.data.conversion.part import pack_part

    messages.send(_READY)
    while True:
        try:
            part, images, is_written = messages.recv()
        except EOFError:
            return
        packed = pack_part(
            conversion, part, images, is_written=is_written, on_image=lambda: messages.send(None)
        )
        messages.send(packed)


def _main() -> None:
    messages: Connection[Any, Any] = Connection(int(sys.argv[1]))
    try:
        _work(messages)
    except ConnectionError:  # the parent has ended
        sys.exit(1)
    except Exception as error:
        explained = explain(error)
        if explained is None:
            raise
        messages.send(explained)


if __name__ == "__main__":
    _main()
