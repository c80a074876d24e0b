"""Run a pipeline on this machine; the store may be its disk or any other."""

import json
import math
import platform
import queue
import re
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

from pipelines.catalogue import PIPELINES
from pipelines.live_list import View, open_view
from pipelines.process_group import ProcessGroup, process_group
from pipelines.steps import LogReader, State
from ssd_core.errors import SsdError, SurroundingsError
from ssd_core.metrics import summarize
from ssd_core.store.local import explain_disk_errors
from ssd_core.store.places import Places

_TICK_SECONDS = 0.2
_GRACE_SECONDS = 20.0
"""Time for a step to save its work when the user asks to stop."""
_WORK_ROOT = "out"
"""Where a run keeps its log and its artifacts while its results go to a store."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalRun:
    """A finished run."""

    name: str
    """In the store, below `runs/`."""
    log_path: Path


def run_pipeline(pipeline: str, request: Mapping[str, Any], stream: TextIO) -> LocalRun:
    """Run a pipeline, and show its steps as they go.

    Args:
        pipeline: its name.
        request: `arguments` of the pipeline, whose `data_root` is an absolute path or a URI, and
            what else the runner takes, see `local_process.py`.
        stream: where the steps are shown.

    Raises:
        SsdError: a step failed; with its message and exit code.
        KeyboardInterrupt: Ctrl-C, after the running step had time to save its work.
    """
    places = Places(request["arguments"]["data_root"])
    run, local_dir = _claim_run(places)
    log_path = local_dir / "log.txt"
    surroundings = {
        "pipeline": pipeline,
        "run": run,
        "pipeline_root": str(local_dir),
        "progress_seconds": 1 if stream.isatty() else 10,
    }
    command = [
        sys.executable,
        "-m",
        "pipelines.local_process",
        json.dumps({**surroundings, **request}),
    ]
    steps = PIPELINES[pipeline].steps
    reader = LogReader(
        steps, lambda step: " · ".join(summarize(step, _read_metrics(local_dir, step)))
    )
    with (
        explain_disk_errors(log_path),
        log_path.open("w") as log,
        process_group(command) as group,
    ):
        _Watch(group, reader, log, open_view(stream)).until_end()
    _check(reader, log_path, was_killed=group.process.returncode < 0)
    return LocalRun(name=run, log_path=log_path)


def _claim_run(places: Places) -> tuple[str, Path]:
    """Make the folder of a new run here, and return its name and the folder.

    The name is the time, and a number where it is taken; another machine that shares the store
    does not see the folder, so its own name is a part as well.
    """
    now = f"{datetime.now():%Y%m%d-%H%M%S}"
    is_here = isinstance(places.run(now, "local"), Path)
    if not is_here:
        now = f"{now}-{_machine()}"
    here = places if is_here else Places(str(Path(_WORK_ROOT).absolute()))
    for name in (now, *(f"{now}-{number}" for number in range(2, 100))):
        local_dir = here.run(name, "local")
        assert isinstance(local_dir, Path)
        with explain_disk_errors(local_dir), suppress(FileExistsError):
            local_dir.mkdir(parents=True)
            return name, local_dir
    raise SurroundingsError(f"{local_dir}: too many runs begin at once")


def _machine() -> str:
    """Return a name of this machine that is fit for a folder."""
    return re.sub(r"[^a-z0-9]+", "-", platform.node().lower()).strip("-") or "here"


@dataclass(frozen=True, slots=True)
class _Watch:
    group: ProcessGroup
    reader: LogReader
    log: TextIO
    view: View

    def until_end(self) -> None:
        """Follow the run; asked to stop, hand the wish on and follow what is left."""
        try:
            self._follow(math.inf)
        except KeyboardInterrupt:
            self.group.signal(signal.SIGTERM)
            self.reader.note("stopping, saves its work first")
            self._follow(time.monotonic() + _GRACE_SECONDS)
            raise

    def _follow(self, deadline: float) -> None:
        """Write the log and redraw the view until the last line, or the deadline."""
        while (now := time.monotonic()) < deadline:
            try:
                line = self.group.lines.get(timeout=_TICK_SECONDS)
            except queue.Empty:
                self.view.draw(self.reader.steps.values(), now)
                continue
            if line is None:
                return
            self.log.write(line)
            self.log.flush()
            if self.reader.feed(line, now):
                self.view.draw(self.reader.steps.values(), now)


def _check(reader: LogReader, log_path: Path, *, was_killed: bool) -> None:
    """Raise the error of the step that failed, or of the run that ended before its last step."""
    states = {step.state for step in reader.steps.values()}
    if states == {State.DONE}:
        return
    failed = [step for step in reader.steps.values() if step.state is State.FAILED]
    if failed:
        error = failed[0].error()
    elif was_killed:
        error = SurroundingsError("the run was killed; the same command continues")
    else:
        error = SsdError("the run ended with a bug, please report it")
    error.args = (f"{error}; the log is {log_path}",)
    raise error


def _read_metrics(local_dir: Path, step: str) -> dict[str, float]:
    """Return what a finished step logged, from the file that kfp keeps of every task."""
    (path,) = local_dir.glob(f"*/{step.replace('_', '-')}/executor_output.json")
    artifacts = json.loads(path.read_text()).get("artifacts", {})
    if "metrics" not in artifacts:
        return {}
    metrics: dict[str, float] = artifacts["metrics"]["artifacts"][0]["metadata"]
    return metrics
