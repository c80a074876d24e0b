"""One step: the files that it needs, the shell line that runs it, and how it ended."""

import json
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from pipelines.execution.processes import Listener, run_line
from pipelines.execution.spec import OUTPUT_FILE, Task
from ssd_core.errors import (
    CrashedError,
    OwnershipError,
    ProcessFailedError,
    SsdError,
    TransientError,
    UsageError,
    parse_error_line,
)
from ssd_core.store.local import explain_disk_errors, make_directory, write_file

_SOURCE_FILE = "component.py"
_INPUT_FILE = "executor_input.json"
_DOCKER_FAILED = 125
_STOP_CODES = frozenset({130, 137, 143})


@dataclass(frozen=True, slots=True)
class Step:
    """A task with its inputs, ready to run."""

    task: Task
    executor_input: Mapping[str, Any]
    out_dir: Path
    """Directory that the step writes to, absolute."""


@dataclass(frozen=True, slots=True)
class Launch:
    """How to run a step, as text for a POSIX shell."""

    line: str
    """The command; it can be pasted into a terminal."""
    cleanup: str = ":"
    """Removes everything that the end of the command would leave behind."""


Launcher = Callable[[Step], Launch]


def launch_process(step: Step, *, variables: Sequence[str] = ()) -> Launch:
    """Run a step as a process of this Python, with further environment variables."""
    words = ["env", "_KFP_RUNTIME=true", "PYTHONUNBUFFERED=1", *variables, sys.executable]
    return Launch(f"{shlex.join(words)} {executor_arguments(step)}")


def executor_arguments(step: Step) -> str:
    """Return the arguments of Python that call the function of a component."""
    words = ["-m", "kfp.dsl.executor_main"]
    words += ["--component_module_path", str(step.out_dir / _SOURCE_FILE)]
    words += ["--function_to_execute", step.task.function]
    content = f'"$(cat {shlex.quote(str(step.out_dir / _INPUT_FILE))})"'
    return f"{shlex.join(words)} --executor_input {content}"


def write_step(step: Step) -> None:
    """Write the files that the line reads, and delete the output of an earlier run.

    Raises:
        OwnershipError: `out_dir` holds other files than those of an earlier run.
    """
    make_directory(step.out_dir)
    with explain_disk_errors(step.out_dir):
        if any(step.out_dir.iterdir()) and not (step.out_dir / _INPUT_FILE).is_file():
            raise OwnershipError(
                f"{step.out_dir} holds other files; expected an empty directory or an earlier run"
            )
        (step.out_dir / OUTPUT_FILE).unlink(missing_ok=True)
    write_file(step.out_dir / _SOURCE_FILE, step.task.source)
    write_file(step.out_dir / _INPUT_FILE, json.dumps(step.executor_input, indent=2) + "\n")


def run_step(
    step: Step, launch: Launch, listener: Listener, *, stdout: IO[str] | None = None
) -> None:
    """Run a written step.

    The exit code alone proves nothing: an image with an entry point of its own exits with 0
    without having run the component.

    Args:
        step: the step.
        launch: how to run it.
        listener: follows its log.
        stdout: receives the rest of its output; None for the standard output of this process.

    Raises:
        ProcessFailedError: the stage failed.
        TransientError: the step was killed, or docker could not run it.
        UsageError: the image cannot run the component.
        CrashedError: the step ended with a bug.
    """
    code, tail = run_line(launch.line, listener, cleanup=launch.cleanup, stdout=stdout)
    if code != 0 or not (step.out_dir / OUTPUT_FILE).is_file():
        raise _explain(step.task, code, tail or [""])


def _explain(task: Task, code: int, tail: Sequence[str]) -> SsdError:
    for failed in filter(None, map(parse_error_line, reversed(tail))):
        return ProcessFailedError(f"{task.name}: {failed.message}", failed.exit_code)
    if code < 0 or code in _STOP_CODES:
        return TransientError(
            f"{task.name} was killed, possibly out of memory; the same command continues"
        )
    if code == CrashedError.exit_code:
        return CrashedError(f"{task.name} ended with a bug, please report it: {tail[-1]}")
    if code == _DOCKER_FAILED:
        return TransientError(f"docker could not run {task.name}: {tail[-1]}")
    return UsageError(
        f"{task.image} did not run {task.name} (exit {code}, no {OUTPUT_FILE});"
        " expected an image with python3, kfp and ssd_core, and without an entry point"
    )
