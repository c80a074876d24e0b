"""A component in a container: the plain `docker run` line, and the check of how it ended."""

import atexit
import json
import shlex
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssd_core.errors import OwnershipError, SsdError, SurroundingsError, UsageError
from ssd_core.store.local import explain_disk_errors, make_directory, write_file

SOURCE_FILE = "component.py"
INPUT_FILE = "executor_input.json"
OUTPUT_FILE = "executor_output.json"

DEVICE_OPTIONS: Mapping[str, tuple[str, ...]] = {
    "auto": (),
    "cpu": (),
    "cuda": ("--gpus", "all"),
    "npu": ("--runtime", "ascend", "--env", "ASCEND_VISIBLE_DEVICES=0"),
}
"""What lets a container see the accelerator; the second needs the Ascend Docker Runtime."""

_RESTRICTIONS = (
    *("--read-only", "--tmpfs", "/tmp"),
    *("--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
)
_PASSED_VARIABLES = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_S3_ADDRESSING_STYLE",
)
"""By name only, so that no line holds a value; docker leaves out those that are not set."""
_STAGE_ENDS = frozenset({1, 2, 3, 75, 130, 143})
"""Exit codes of a stage; they mean the same for the command that ran it."""
_DOCKER_FAILED, _KILLED = 125, 137


class StageFailedError(SsdError):
    """The stage in the container failed, and has said why."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One component, ready to run."""

    name: str
    """Of the component, which is the name of its function."""
    source: str
    """Text of the module that holds the function."""
    image: str
    executor_input: Mapping[str, Any]
    """In the words of Kubeflow Pipelines; every path in it is valid here and in the container."""
    out_dir: Path
    """Where this step may write, absolute."""
    mounts: Mapping[Path, bool]
    """Other absolute paths that it sees, and whether it may write there."""
    options: Sequence[str] = ()
    """More options of `docker run`; of two that contradict each other docker takes the last."""
    user: str
    """User and group of the container, as `1000:1000`."""


def check_image(image: str) -> None:
    """Check that docker answers and has the image; nothing is pulled behind the user's back.

    Raises:
        SurroundingsError: docker is not installed or not running.
        UsageError: there is no such image on this machine.
    """
    words = ["docker", "image", "inspect", "--format", "{{.Id}}", image]
    try:
        asked = subprocess.run(words, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise SurroundingsError("docker is not installed; expected the command `docker`") from None
    if asked.returncode == 0:
        return
    reason = " ".join(asked.stderr.split())
    if "No such image" in reason:
        raise UsageError(
            f"image {image} is not on this machine; `make images` builds it, or `docker pull` it"
        )
    if "invalid reference" in reason:
        raise UsageError(f"'{image}' is no name of an image; expected for example tools:1.0")
    raise SurroundingsError(f"docker does not answer: {reason}")


def docker_line(step: Step) -> str:
    """Return the shell command that runs the step; its files must have been written."""
    volumes = {**step.mounts, step.out_dir: True}
    words = ["docker", "run", "--rm", "--init", "--user", step.user, *_RESTRICTIONS]
    words += ["--env", "_KFP_RUNTIME=true", "--env", "PYTHONUNBUFFERED=1"]
    for variable in _PASSED_VARIABLES:
        words += ["--env", variable]
    for path, is_writable in sorted(volumes.items()):
        words += ["--volume", f"{path}:{path}" + ("" if is_writable else ":ro")]
    words += [*step.options, step.image, "python3", "-m", "kfp.dsl.executor_main"]
    words += ["--component_module_path", str(step.out_dir / SOURCE_FILE)]
    words += ["--function_to_execute", step.name]
    content = f'"$(cat {shlex.quote(str(step.out_dir / INPUT_FILE))})"'
    return f"{shlex.join(words)} --executor_input {content}"


def write_step(step: Step) -> None:
    """Write what the line needs, and forget how an earlier run ended.

    Raises:
        OwnershipError: `out_dir` holds other files than those of an earlier run.
        SurroundingsError: the disk is full or refuses.
    """
    make_directory(step.out_dir)
    with explain_disk_errors(step.out_dir):
        if any(step.out_dir.iterdir()) and not (step.out_dir / INPUT_FILE).is_file():
            raise OwnershipError(f"{step.out_dir} holds other files; expected a place of its own")
        (step.out_dir / OUTPUT_FILE).unlink(missing_ok=True)
    for path in (path for path, is_writable in step.mounts.items() if is_writable):
        make_directory(path)  # docker would make it for the user root
    write_file(step.out_dir / SOURCE_FILE, step.source)
    write_file(step.out_dir / INPUT_FILE, json.dumps(step.executor_input, indent=2) + "\n")


def run_line(step: Step) -> None:
    """Run a written step; its log goes where this process writes.

    The exit code alone proves nothing: an image with an entry point of its own ends with 0 and has
    not run the component.

    Raises:
        StageFailedError: with the exit code of the stage.
        SurroundingsError: the container was killed, or docker could not run it.
        UsageError: the image cannot run the component.
    """
    with subprocess.Popen(["sh", "-c", f"exec {docker_line(step)}"]) as process:
        code = _wait(process)
    if code == 0 and (step.out_dir / OUTPUT_FILE).is_file():
        return
    raise _explain(step, code)


def remove_at_the_end(label: str) -> None:
    """Let no container with this label outlive this process.

    A container belongs to the daemon, so it would go on when the command that started it is
    killed. A process waits for the end of its standard input, which comes when this process ends
    by whatever means, and removes what is left.
    """
    found = f"docker ps --all --quiet --filter label={shlex.quote(label)}"
    words = ["sh", "-c", f"cat; {found} | xargs -r docker rm --force > /dev/null 2>&1"]
    watcher = subprocess.Popen(words, stdin=subprocess.PIPE, start_new_session=True)
    atexit.register(watcher.communicate)  # which also keeps the other end open until then


def _wait(process: "subprocess.Popen[bytes]") -> int:
    """Wait for the end; hand a wish to stop on, since the step may have work to save."""
    earlier = signal.signal(signal.SIGTERM, lambda number, frame: process.terminate())
    try:
        return process.wait()
    except KeyboardInterrupt:  # docker heard it as well
        process.wait()
        raise
    finally:
        signal.signal(signal.SIGTERM, earlier)


def _explain(step: Step, code: int) -> SsdError:
    if code in _STAGE_ENDS:
        return StageFailedError(f"{step.name} failed in its container; its log says why", code)
    if code == _KILLED:
        return SurroundingsError(f"the container of {step.name} was killed, perhaps for memory")
    if code == _DOCKER_FAILED:
        return SurroundingsError(f"docker could not run {step.name}; the line above says why")
    return UsageError(
        f"{step.image} did not run {step.name} (exit {code}, no {OUTPUT_FILE});"
        " expected an image with python3, kfp and ssd_core, and without an entry point"
    )
