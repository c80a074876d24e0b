"""One step: the files that it needs, the shell line that runs it, and how it ended."""

import json
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from pipelines.execution.processes import run_line
from pipelines.execution.spec import OUTPUT_FILE, Task
from ssd_core.errors import (
    OwnershipError,
    SsdError,
    SurroundingsError,
    UsageError,
    parse_error_line,
)
from ssd_core.store.local import explain_disk_errors, make_directory, write_file

SOURCE_FILE = "component.py"
INPUT_FILE = "executor_input.json"
PLACE_PARAMETERS = frozenset({"data_root", "source", "uri"})
"""Parameters with a path or a URI; a component writes only to the first."""

_BUG, _DOCKER_FAILED = 1, 125
_STOP_CODES = frozenset({130, 137, 143})


class StageFailedError(SsdError):
    """A stage failed; carries the exit code of the stage."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A task with its inputs, ready to run."""

    name: str
    function: str
    source: str
    """Text of the module with the function."""
    image: str
    executor_input: Mapping[str, Any]
    out_dir: Path
    """Directory that the step writes to, absolute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """How to run a step, as text for a POSIX shell."""

    line: str
    """The command; it can be pasted into a terminal."""
    cleanup: str = ":"
    """Removes everything that the end of the command would leave behind."""


Launcher = Callable[[Step], Launch]


def make_step(
    task: Task, executor_input: Mapping[str, Any], out_dir: Path, *, image: str | None = None
) -> Step:
    """Return the step that runs a task with this input, in another image where one is given."""
    return Step(
        name=task.name,
        function=task.function,
        source=task.source,
        image=image or task.image,
        executor_input=executor_input,
        out_dir=out_dir,
    )


def launch_process(step: Step, *, variables: Sequence[str] = ()) -> Launch:
    """Run a step as a process of this Python, with further environment variables."""
    words = ["env", "_KFP_RUNTIME=true", "PYTHONUNBUFFERED=1", *variables, sys.executable]
    return Launch(line=f"{shlex.join(words)} {executor_arguments(step)}")


def executor_arguments(step: Step) -> str:
    """Return the arguments of Python that call the function of a component."""
    words = ["-m", "kfp.dsl.executor_main"]
    words += ["--component_module_path", str(step.out_dir / SOURCE_FILE)]
    words += ["--function_to_execute", step.function]
    content = f'"$(cat {shlex.quote(str(step.out_dir / INPUT_FILE))})"'
    return f"{shlex.join(words)} --executor_input {content}"


def find_mounts(step: Step) -> dict[Path, bool]:
    """Return every local path that a step uses, and whether it writes there."""
    inputs = step.executor_input["inputs"]
    values = inputs["parameterValues"]
    uris = {entry["artifacts"][0]["uri"]: False for entry in inputs["artifacts"].values()}
    uris |= {values[name]: name == "data_root" for name in PLACE_PARAMETERS & values.keys()}
    local = {Path(uri): is_writable for uri, is_writable in uris.items() if uri.startswith("/")}
    return local | {step.out_dir: True}


def write_step(step: Step) -> None:
    """Write the files that the line reads, and delete the output of an earlier run.

    Raises:
        OwnershipError: `out_dir` holds other files than those of an earlier run.
    """
    make_directory(step.out_dir)
    with explain_disk_errors(step.out_dir):
        if any(step.out_dir.iterdir()) and not (step.out_dir / INPUT_FILE).is_file():
            raise OwnershipError(
                f"{step.out_dir} holds other files; expected an empty directory or an earlier run"
            )
        (step.out_dir / OUTPUT_FILE).unlink(missing_ok=True)
    for path in (path for path, is_writable in find_mounts(step).items() if is_writable):
        make_directory(path)  # docker would create it as root
    write_file(step.out_dir / SOURCE_FILE, step.source)
    write_file(step.out_dir / INPUT_FILE, json.dumps(step.executor_input, indent=2) + "\n")


def run_step(
    step: Step,
    launch: Launch,
    *,
    stdout: IO[str] | None = None,
    on_line: Callable[[str], object],
    on_tick: Callable[[], None] = lambda: None,
    on_stop: Callable[[], None] = lambda: None,
) -> None:
    """Run a written step; the arguments are those of `run_line`.

    The exit code alone proves nothing: an image with an entry point of its own exits with 0
    without having run the component.

    Raises:
        StageFailedError: with the exit code of the stage.
        SurroundingsError: the step was killed, or docker could not run it.
        UsageError: the image cannot run the component.
        SsdError: the step ended with a bug.
    """
    last = ""

    def note(line: str) -> None:
        nonlocal last
        if parse_error_line(line) or (line.strip() and not parse_error_line(last)):
            last = line.strip()
        on_line(line)

    code = run_line(
        launch.line,
        cleanup=launch.cleanup,
        stdout=stdout,
        on_line=note,
        on_tick=on_tick,
        on_stop=on_stop,
    )
    if code != 0 or not (step.out_dir / OUTPUT_FILE).is_file():
        raise _explain(step, code, last)


def _explain(step: Step, code: int, last: str) -> SsdError:
    """Return the error of a step that ended with this code after this line on standard error."""
    if failed := parse_error_line(last):
        return StageFailedError(f"{step.name}: {failed.message}", failed.exit_code)
    if code < 0 or code in _STOP_CODES:
        return SurroundingsError(
            f"{step.name} was killed, possibly out of memory; the same command continues"
        )
    if code == _BUG:
        return SsdError(f"{step.name} ended with a bug, please report it: {last}")
    if code == _DOCKER_FAILED:
        return SurroundingsError(f"docker could not run {step.name}: {last}")
    return UsageError(
        f"{step.image} did not run {step.name} (exit {code}, no {OUTPUT_FILE});"
        " expected an image with python3, kfp and ssd_core, and without an entry point"
    )
