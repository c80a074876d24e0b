"""The log of a training: one JSON object per line, in the order of the steps.

{"event": "start", "step": 0, ...}        how this attempt runs; every resume adds one
{"event": "step", "step": 20, ...}        means since the previous line
{"event": "evaluation", "step": 100, ...}
{"event": "diverged", "step": 123, ...}   why, and the images of that step; the last line
{"event": "end", "step": 800, ...}
"""

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from ssd_core.errors import DataError

LOG_FILE = "train_log.jsonl"

_SPEED = {"start": ["batch_size", "images"], "step": ["seconds"]}
_PROGRESS = {"start": ["time", "total_steps"], "step": ["time"], "end": ["time"]}
"""The numbers that a figure follows from, by event; lines of earlier versions may lack some."""

LineListener = Callable[[Mapping[str, Any]], None]
"""Follows a training: takes each line that its log gets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedSteps:
    """Steps that were timed together."""

    epoch: int
    end: int
    """Number of the last step within its epoch."""
    steps: int
    images: int
    """Of all devices together."""
    seconds: float
    is_first: bool = False
    """Whether it follows a start, whose warm-up it contains."""

    def __post_init__(self) -> None:
        if not (self.steps > 0 and 0 < self.seconds < math.inf):
            raise DataError(f"epoch {self.epoch}: {self.steps} steps in {self.seconds:g} s")


def append(path: Path, line: Mapping[str, Any]) -> None:
    """Append one line, which has an `event` and a `step`; its numbers must be finite."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line, allow_nan=False) + "\n")


def parse_log(content: bytes, name: object) -> list[dict[str, Any]]:
    """Return the lines of a log, without a last line that is still being written.

    `name` is the file, for messages.
    """
    whole = content.decode(errors="replace").split("\n")[:-1]
    lines = [_parse(line) for line in whole]
    for number, line in enumerate(lines, 1):
        if line is None:
            raise DataError(f"{name}:{number}: expected a JSON object with event and step")
    return [line for line in lines if line is not None]


def find_timed_steps(lines: Sequence[Mapping[str, Any]]) -> list[TimedSteps]:
    """Return the windows that the `step` lines of a log end, in order.

    Lines that lack numbers do not count.
    """
    windows: list[TimedSteps] = []
    start: Mapping[str, Any] | None = None
    step, seconds = 0, 0.0
    for line in lines:
        if not _has_numbers(line, _SPEED):
            continue
        if line["event"] == "start":
            start, step = line, line["step"]
        elif line["event"] == "step":
            if start is not None:
                windows.append(_end_window(start, line, step, line["seconds"] - seconds))
            step, seconds = line["step"], line["seconds"]
    return windows


def _end_window(
    start: Mapping[str, Any], line: Mapping[str, Any], after: int, seconds: float
) -> TimedSteps:
    """Return the steps of an attempt that follow step `after` and end with that of `line`."""
    per_epoch = start["images"] / start["batch_size"]
    epoch, steps = math.ceil(line["step"] / per_epoch), line["step"] - after
    return TimedSteps(
        epoch=epoch,
        end=math.ceil(line["step"] - (epoch - 1) * per_epoch),
        steps=steps,
        images=steps * start["batch_size"],
        seconds=seconds,
        is_first=after == start["step"],
    )


def steady_speed(windows: Sequence[TimedSteps]) -> tuple[float, int]:
    """Return the images per second in steady state, and the number of steps left out as warm-up.

    These are the steps of the first window after each start, unless there are no others.
    """
    counted = [window for window in windows if not window.is_first] or windows
    seconds = math.fsum(window.seconds for window in counted)
    left_out = sum(window.steps for window in windows) - sum(window.steps for window in counted)
    return (sum(window.images for window in counted) / seconds if counted else 0.0), left_out


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingProgress:
    """How far a training is."""

    percent: int
    """Of its steps; 100 only at its end."""
    seconds_left: int | None
    """At the pace of this attempt, with its evaluations; None before its first steps."""
    metrics: Mapping[str, float]
    """Latest loss and AP, as far as they are known."""


def find_progress(latest: Mapping[str, Mapping[str, Any]]) -> TrainingProgress | None:
    """Return the progress by the latest line of each event; None without a start.

    Lines that lack numbers do not count.
    """
    latest = {event: line for event, line in latest.items() if _has_numbers(line, _PROGRESS)}
    if (start := latest.get("start")) is None:
        return None
    step = max(start, latest.get("step", start), key=itemgetter("time"))
    total = start["total_steps"]
    done, seconds = step["step"] - start["step"], step["time"] - start["time"]
    left = round(seconds / done * (total - step["step"])) if done else None
    percent = min(99, 100 * step["step"] // total)
    if latest.get("end", {"time": 0})["time"] >= start["time"]:
        percent, left = 100, 0
    figures = {"loss": step.get("loss"), "ap": latest.get("evaluation", {}).get("ap")}
    return TrainingProgress(
        percent=percent,
        seconds_left=left,
        metrics={name: value for name, value in figures.items() if value is not None},
    )


def _has_numbers(line: Mapping[str, Any], names: Mapping[str, Sequence[str]]) -> bool:
    """Return whether a line has the numbers that its event should have."""
    return all(isinstance(line.get(name), int | float) for name in names.get(line["event"], ()))


def rewind(path: Path, step: int) -> None:
    """Remove the lines that were written after the checkpoint of `step`.

    Steps only grow from line to line, so these lines are a tail, and one truncation is enough.
    """
    if not path.exists():
        return
    kept_bytes = 0
    with path.open("rb") as file:
        for content in file:
            line = _parse(content.decode("utf-8", errors="replace"))
            if line is None or not content.endswith(b"\n") or _is_later(line, step):
                break
            kept_bytes += len(content)
    os.truncate(path, kept_bytes)


def _is_later(line: Mapping[str, Any], step: int) -> bool:
    """Return whether a line is later than the checkpoint of `step`, which follows a `step` line."""
    return bool(line["step"] > step or (line["step"] == step and line["event"] != "step"))


def _parse(text: str) -> dict[str, Any] | None:
    try:
        line = from_json(text)
    except ValueError:
        return None
    is_line = isinstance(line, dict) and "event" in line and isinstance(line.get("step"), int)
    return line if is_line else None
