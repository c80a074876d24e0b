"""Steps in containers: the plain `docker run` line."""

import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence

from pipelines.execution.steps import Launch, Step, executor_arguments, find_mounts
from ssd_core.errors import SurroundingsError, UsageError

DEVICE_OPTIONS: Mapping[str, tuple[str, ...]] = {
    "auto": (),
    "cpu": (),
    "cuda": ("--gpus", "all"),
    "npu": ("--runtime", "ascend", "--env", "ASCEND_VISIBLE_DEVICES=0"),
}
"""Options that give a container the accelerator; the last needs the Ascend Docker Runtime."""

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


def check_image(image: str) -> None:
    """Check that docker has the image; nothing is pulled implicitly.

    Raises:
        SurroundingsError: docker is not installed or not running.
        UsageError: the image is not on this machine.
    """
    words = ["docker", "image", "inspect", "--format", "{{.Id}}", image]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise SurroundingsError("docker is not installed; expected the command `docker`") from None
    if done.returncode == 0:
        return
    reason = " ".join(done.stderr.split())
    if "No such image" in reason:
        raise UsageError(
            f"image {image} is not on this machine; `make images` builds it, or `docker pull` it"
        )
    if "invalid reference" in reason:
        raise UsageError(f"'{image}' is not the name of an image; expected for example tools:1.0")
    raise SurroundingsError(f"docker does not answer: {reason}")


def launch_container(step: Step, *, options: Sequence[str] = ()) -> Launch:
    """Run a step in its image; of contradicting options of `docker run` the last one wins.

    The container belongs to the daemon, so it outlives a killed client: it is found by its label.
    """
    label = f"ssd-on-kubeflow.step={step.out_dir}"
    words = ["docker", "run", "--rm", "--init", "--label", label]
    words += ["--user", f"{os.getuid()}:{os.getgid()}", *_RESTRICTIONS]
    words += ["--env", "_KFP_RUNTIME=true", "--env", "PYTHONUNBUFFERED=1"]
    for variable in _PASSED_VARIABLES:
        words += ["--env", variable]
    for path, is_writable in sorted(find_mounts(step).items()):
        words += ["--volume", f"{path}:{path}" + ("" if is_writable else ":ro")]
    words += [*options, step.image, "python3"]
    found = shlex.join(["docker", "ps", "--all", "--quiet", "--filter", f"label={label}"])
    return Launch(
        line=f"{shlex.join(words)} {executor_arguments(step)}",
        cleanup=f"{found} | xargs -r docker rm --force",
    )
