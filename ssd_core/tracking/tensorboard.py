"""Curves of a training for TensorBoard: event files in `tensorboard/` beside its log."""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from ssd_core.tracking.background import Line, Send
from ssd_core.tracking.curves import take_new_points
from ssd_core.train_log import parse_log


@contextmanager
def open_tracker(log_path: Path, training_ids: Sequence[str]) -> Iterator[Send]:
    """Yield the function that writes lines.

    Each attempt, and each call after an error, writes the whole log again, in a file that replaces
    the earlier ones. So points that a rewind has removed leave the curves too, even in a running
    TensorBoard.
    """
    from tensorboard.compat.proto.event_pb2 import Event, SessionLog
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    folder, files = log_path.parent / "tensorboard", ExitStack()
    writer: Any = None
    last_steps = dict[str, int]()

    def close(opened: EventFileWriter) -> None:
        with suppress(OSError):  # of a full disk, which must not end the training
            opened.close()

    def write(opened: EventFileWriter, line: Line) -> None:
        points = take_new_points(line, last_steps).items()
        values = [Summary.Value(tag=name, simple_value=value) for name, value in points]
        if values:
            summary = Summary(value=values)
            opened.add_event(Event(wall_time=line["time"], step=line["step"], summary=summary))

    def send(lines: Sequence[Line]) -> None:
        nonlocal writer
        opened, writer, earlier = writer, None, []
        if opened is None:
            files.close()
            last_steps.clear()
            earlier = list(folder.glob("events.*"))
            opened = EventFileWriter(str(folder))
            files.callback(close, opened)
            start = SessionLog(status=SessionLog.START)  # removes all steps from 0
            opened.add_event(Event(wall_time=time.time(), step=0, session_log=start))
            lines = parse_log(log_path.read_bytes(), log_path)
        for line in lines:
            write(opened, line)
        opened.flush()
        for path in earlier:
            path.unlink()
        writer = opened

    with files:
        yield send
