"""The process in which kfp.local runs a pipeline; `pipelines.local` starts it and reads its log."""

import json
import os
import signal
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from kfp import local

from pipelines.catalogue import build
from pipelines.docker_runner import prepare_containers
from pipelines.placement import Placement
from pipelines.process_group import end_with_parent
from ssd_core.stages.doorway import PROGRESS_VARIABLE

Request = Mapping[str, Any]


def main(text: str) -> None:
    """Run a pipeline here, step by step.

    Args:
        text: JSON with `pipeline` (its name), its `arguments`, `framework`, `device`, `run`,
            `runner` (a name of RUNNERS), `pipeline_root` and `progress_seconds`.
    """
    end_with_parent()
    # A wish to stop is the step's to fulfil; the log must be read until it has.
    signal.signal(signal.SIGTERM, lambda number, frame: None)
    warnings.simplefilter("ignore")  # kfp warns of every setting that only a cluster knows
    request: Request = json.loads(text)
    placement, runner = RUNNERS[request["runner"]](request)
    local.init(runner, pipeline_root=request["pipeline_root"], raise_on_error=False)
    build(request["pipeline"], placement, run=request["run"])(**request["arguments"])


def prepare_subprocesses(request: Request) -> tuple[Placement, Any]:
    """Return the placement and the runner that give each step a process of its own.

    It sets what the processes inherit, and lets them find this Python by its name: kfp.local
    replaces `python3` by `sys.executable` in the whole command of a step, so also in paths among
    its arguments, and it quotes nothing.
    """
    folder = str(Path(sys.executable).parent)
    path = os.environ.get("PATH", os.defpath)
    os.environ.update(
        PATH=f"{folder}{os.pathsep}{path}",
        PYTHONUNBUFFERED="1",
        TMPDIR=request["pipeline_root"],  # kfp leaves the source of every component behind
    )
    os.environ[PROGRESS_VARIABLE] = str(request["progress_seconds"])
    sys.executable = "python3"
    placement = Placement(
        framework=request["framework"],
        device=request["device"],
        image="python:local",
        environment={},
        store_secret=None,
    )
    return placement, local.SubprocessRunner(use_venv=False)


RUNNERS: dict[str, Callable[[Request], tuple[Placement, Any]]] = {
    "subprocess": prepare_subprocesses,
    "docker": prepare_containers,
}
"""What `run` can execute the steps with; each prepares this process, and returns where they run."""


if __name__ == "__main__":
    main(sys.argv[1])
