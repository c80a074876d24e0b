"""A pipeline on this machine, task by task; its store may be the disk or any other."""

import platform
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from pipelines.execution.docker import check_image, launch_container
from pipelines.execution.live_list import LiveList, State
from pipelines.execution.processes import Listener
from pipelines.execution.spec import (
    Task,
    Values,
    build_executor_input,
    read_defaults,
    read_outputs,
    read_tasks,
)
from pipelines.execution.steps import Launcher, Step, launch_process, run_step, write_step
from pipelines.placement import Placement, load_placement
from ssd_core import __version__
from ssd_core.config import parse_section
from ssd_core.errors import SsdError, TransientError
from ssd_core.metrics import summarize
from ssd_core.process.machine import DEVICE_OPTIONS
from ssd_core.process.packages import check_version
from ssd_core.stages.doorway import PROGRESS_VARIABLE
from ssd_core.store.layout import Layout
from ssd_core.store.local import explain_disk_errors

_WORK_ROOT = "out"
"""Holds the log and the artifacts of a run whose results go to a store."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalRun:
    """A finished run."""

    name: str
    """In the store, below `runs/`."""
    log_path: Path


def choose_runner(
    framework: str, device: str, *, docker: bool, stream: TextIO
) -> tuple[Placement, Launcher]:
    """Return the placement of the steps and the launcher that runs one.

    With docker, the placement is a row of placements.yaml, and `auto` is the CPU.

    Args:
        framework: its name.
        device: its name.
        docker: run each step in its image.
        stream: shows the progress of the steps.

    Raises:
        PackageNotFoundError: without docker, the framework is not installed.
        UsageError: it has another version; with docker, no row has this framework and device, or
            an image is not on this machine.
    """
    progress = f"{PROGRESS_VARIABLE}={1 if stream.isatty() else 10}"
    nothing: dict[str, Any] = {"environment": {}, "store_secret": None}
    if not docker:
        check_version(framework)
        row = {"framework": framework, "device": device, "image": "python:local", **nothing}
        placement = parse_section(Placement, row, "placement")
        return placement, partial(launch_process, variables=[progress])
    placement = load_placement(f"{framework}-{'cpu' if device == 'auto' else device}")
    for image in {placement.tools_image, placement.convert_image, placement.image} - {None}:
        check_image(str(image))
    options = [*DEVICE_OPTIONS[device], "--env", progress]
    return placement.model_copy(update=nothing), partial(launch_container, options=options)


def run_pipeline(
    pipeline: Any, arguments: Mapping[str, Any], launcher: Launcher, stream: TextIO
) -> LocalRun:
    """Run a pipeline of kfp, and show its steps.

    Args:
        pipeline: the compiled pipeline.
        arguments: its parameters; `data_root` is an absolute path or a URI.
        launcher: runs a step as a process or in a container.
        stream: shows the steps.

    Raises:
        SsdError: a step failed; with its message and exit code.
        KeyboardInterrupt: Ctrl-C, after the running step had time to save its work.
    """
    tasks = read_tasks(pipeline)
    values = Values(parameters=read_defaults(pipeline) | dict(arguments))
    run, local_dir = _claim_run(Layout(arguments["data_root"]))
    outputs: dict[str, Values] = {}
    rows = LiveList((task.name for task in tasks), stream)
    log_path = local_dir / "log.txt"
    with explain_disk_errors(log_path), log_path.open("a", buffering=1) as log:
        for task in tasks:
            out_dir = local_dir / task.name
            entry = build_executor_input(task, values, outputs, run=run, out_dir=out_dir)
            step = Step(task, entry, out_dir)
            try:
                write_step(step)
                launch = launcher(step)
                log.write(f"\n{datetime.now():%H:%M:%S} {task.name}\n{launch.line}\n")
                rows.begin(task.name)
                run_step(step, launch, _RowListener(rows, task.name, log), stdout=log)
            except SsdError as error:
                rows.end(task.name, State.FAILED, "")
                error.args = (f"{error}; the log is {log_path}",)
                raise
            outputs[task.name] = read_outputs(entry)
            rows.end(task.name, State.DONE, _describe(task, outputs[task.name]))
    return LocalRun(name=run, log_path=log_path)


@dataclass(frozen=True, slots=True)
class _RowListener(Listener):
    """Writes the log of a step to the log of the run, and its last line to the row."""

    rows: LiveList
    name: str
    log: TextIO

    def on_line(self, line: str) -> None:
        self.log.write(line)
        text = line.strip()
        if text and text != f"ssd-core {__version__}":
            self.rows.rows[self.name].text = text.removeprefix(f"{self.name}: ")

    def on_tick(self) -> None:
        self.rows.draw()

    def on_stop(self) -> None:
        self.rows.rows[self.name].text = "stopping, saves its work first"


def _claim_run(layout: Layout) -> tuple[str, Path]:
    """Make the directory of a new run here, and return its name and the directory.

    The name is the time, and a number where it is taken; another machine that shares the store
    does not see the directory, so its own name is a part as well.
    """
    now, here = f"{datetime.now():%Y%m%d-%H%M%S}", layout
    if layout.run(now, "local").local is None:
        now, here = f"{now}-{_machine()}", Layout(str(Path(_WORK_ROOT).absolute()))
    for name in (now, *(f"{now}-{number}" for number in range(2, 100))):
        local_dir = Path(here.run(name, "local").uri)
        with explain_disk_errors(local_dir), suppress(FileExistsError):
            local_dir.mkdir(parents=True)
            return name, local_dir
    raise TransientError(f"{local_dir}: too many runs start at once")


def _machine() -> str:
    """Return a name of this machine that is fit for a directory."""
    return re.sub(r"[^a-z0-9]+", "-", platform.node().lower()).strip("-") or "here"


def _describe(task: Task, outputs: Values) -> str:
    if "metrics" not in outputs.artifacts:
        return ""
    return " · ".join(
        summarize(task.name, outputs.artifacts["metrics"]["artifacts"][0]["metadata"])
    )
