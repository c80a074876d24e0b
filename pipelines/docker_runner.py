"""Let kfp.local run every step of a pipeline in its own container.

kfp has a runner for this, but it takes a container that failed at once for a success, keeps the
entry point of the image, and leaves the container running when the run is killed.
"""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from kfp import local
from kfp.local import status, subprocess_task_handler

from pipelines.docker import (
    DEVICE_OPTIONS,
    StageFailedError,
    Step,
    remove_at_the_end,
    run_line,
    write_step,
)
from pipelines.placement import Placement, load_placement
from ssd_core.errors import SsdError, format_error_line
from ssd_core.stages.doorway import PROGRESS_VARIABLE


def docker_placement(framework: str, device: str) -> Placement:
    """Return the row of placements.yaml whose images run the steps; `auto` means the CPU here.

    Raises:
        UsageError: there is no row for this framework and device.
    """
    placement = load_placement(f"{framework}-{'cpu' if device == 'auto' else device}")
    return placement.model_copy(update={"environment": {}, "store_secret": None})


def prepare_containers(request: Mapping[str, Any]) -> tuple[Placement, Any]:
    """Return the placement and the runner that give each step a container of its own.

    They see the places that the arguments name at the same paths, and write below `data_root` and
    in the folder of the run.
    """
    root = request["pipeline_root"]
    label = f"ssd-on-kubeflow.run={root}"
    remove_at_the_end(label)
    options = ["--label", label, *DEVICE_OPTIONS[request["device"]]]
    options += ["--env", f"{PROGRESS_VARIABLE}={request['progress_seconds']}"]
    mounts = {Path(root): True} | {
        Path(value): name == "data_root"
        for name, value in request["arguments"].items()
        if isinstance(value, str) and value.startswith("/")
    }
    handler = partial(_TaskHandler, mounts=mounts, options=options)
    subprocess_task_handler.SubprocessTaskHandler = handler
    placement = docker_placement(request["framework"], request["device"])
    return placement, local.SubprocessRunner(use_venv=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class _TaskHandler:
    """Runs one task; kfp.local gives the first five values."""

    image: str
    full_command: Sequence[str]
    pipeline_root: str
    runner: Any
    env_vars: Mapping[str, str]
    mounts: Mapping[Path, bool]
    options: Sequence[str]

    def run(self) -> Any:
        """Run the task in its container, and say how it ended in the words of kfp."""
        step = self._step()
        try:
            write_step(step)
            run_line(step)
        except StageFailedError:  # which the stage has explained
            return status.Status.FAILURE
        except SsdError as error:
            sys.stdout.write(format_error_line(error, error.exit_code) + "\n")
            sys.stdout.flush()
            return status.Status.FAILURE
        return status.Status.SUCCESS

    def _step(self) -> Step:
        """Read the command of a Python component: a script, its source, and two options."""
        *_, source, _, executor_input, _, name = self.full_command
        values = json.loads(executor_input)
        return Step(
            name=name,
            source=source,
            image=self.image,
            executor_input=values,
            out_dir=Path(values["outputs"]["outputFile"]).parent,
            mounts=self.mounts,
            options=self.options,
            user=f"{os.getuid()}:{os.getgid()}",
        )
