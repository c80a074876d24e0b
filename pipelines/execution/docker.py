"""Steps in containers: the plain `docker run` line."""

import os
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path

from pipelines.execution.steps import Launch, Step, executor_arguments
from ssd_core.errors import TransientError, UsageError
from ssd_core.store.local import make_directory
from ssd_core.store.s3.settings import VARIABLES, find_files

PLACE_PARAMETERS = frozenset({"data_root", "source", "uri"})
"""Parameters with a path or a URI; a component writes only to the first."""

_RESTRICTIONS = (
    *("--read-only", "--tmpfs", "/tmp"),
    *("--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
)


def check_image(image: str) -> None:
    """Check that docker has the image; nothing is pulled implicitly.

    Raises:
        TransientError: docker is not installed or not running.
        UsageError: the image is not on this machine.
    """
    words = ["docker", "image", "inspect", "--format", "{{.Id}}", image]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise TransientError("docker is not installed; expected the command `docker`") from None
    if done.returncode == 0:
        return
    reason = " ".join(done.stderr.split())
    if "No such image" in reason:
        raise UsageError(
            f"image {image} is not on this machine; `make images` builds it, or `docker pull` it"
        )
    if "invalid reference" in reason:
        raise UsageError(f"'{image}' is not the name of an image; expected for example tools:1.0")
    raise TransientError(f"docker does not answer: {reason}")


def find_mounts(step: Step) -> dict[Path, bool]:
    """Return every local path that a step uses, and whether it writes there."""
    inputs = step.executor_input["inputs"]
    values = inputs["parameterValues"]
    uris = {entry["artifacts"][0]["uri"]: False for entry in inputs["artifacts"].values()}
    uris |= {values[name]: name == "data_root" for name in PLACE_PARAMETERS & values.keys()}
    local = {Path(uri): is_writable for uri, is_writable in uris.items() if uri.startswith("/")}
    return local | {step.out_dir: True}


def launch_container(step: Step, *, options: Sequence[str] = ()) -> Launch:
    """Run a step in its image; of contradicting options of `docker run` the last one wins.

    The container belongs to the daemon, so it outlives a killed client: it is found by its label.
    """
    label = f"ssd-on-kubeflow.step={step.out_dir}"
    words = ["docker", "run", "--rm", "--init", "--label", label]
    words += ["--user", f"{os.getuid()}:{os.getgid()}", *_RESTRICTIONS]
    words += ["--env", "_KFP_RUNTIME=true", "--env", "PYTHONUNBUFFERED=1"]
    for variable in VARIABLES:  # by name only, so that no line holds a value
        words += ["--env", variable]
    files = {path.absolute(): False for path in find_files()}
    for path, is_writable in sorted((files | find_mounts(step)).items()):
        words += ["--volume", f"{path}:{path}" + ("" if is_writable else ":ro")]
        if is_writable:
            make_directory(path)  # docker would create it as root
    words += [*options, step.task.image, "python3"]
    found = shlex.join(["docker", "ps", "--all", "--quiet", "--filter", f"label={label}"])
    return Launch(
        f"{shlex.join(words)} {executor_arguments(step)}",
        cleanup=f"{found} | xargs -r docker rm --force",
    )
