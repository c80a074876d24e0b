"""The process in which kfp.local runs a pipeline; `pipelines.local` starts it and reads its log."""

import json
import os
import signal
import sys
import warnings
from pathlib import Path

from kfp import local

from pipelines.placement import Placement
from pipelines.process_group import end_with_parent
from pipelines.training import build_training
from ssd_core.stages.doorway import PROGRESS_VARIABLE


def main(request: str) -> None:
    """Run the training pipeline here, step by step, each in a process of its own.

    Args:
        request: JSON with `arguments` of the pipeline, `device`, `run`, `pipeline_root` and
            `progress_seconds`.
    """
    end_with_parent()
    # A wish to stop is the step's to fulfil; the log must be read until it has.
    signal.signal(signal.SIGTERM, lambda number, frame: None)
    warnings.simplefilter("ignore")  # kfp warns of every setting that only a cluster knows
    words = json.loads(request)
    placement = Placement(
        framework="torch", device=words["device"], image="python:local", tools_image="python:local"
    )
    _prepare_environment(words["progress_seconds"], words["pipeline_root"])
    local.init(
        local.SubprocessRunner(use_venv=False),
        pipeline_root=words["pipeline_root"],
        raise_on_error=False,
    )
    build_training(placement, words["run"])(**words["arguments"])


def _prepare_environment(progress_seconds: float, temporary_dir: str) -> None:
    """Set what the steps inherit, and let them find this Python by its name.

    kfp.local replaces `python3` by `sys.executable` in the whole command of a step, so also in
    paths among its arguments, and it quotes nothing.
    """
    folder = str(Path(sys.executable).parent)
    path = os.environ.get("PATH", os.defpath)
    os.environ.update(
        PATH=f"{folder}{os.pathsep}{path}",
        PYTHONUNBUFFERED="1",
        TMPDIR=temporary_dir,  # kfp leaves the source of every component behind
    )
    os.environ[PROGRESS_VARIABLE] = str(progress_seconds)
    sys.executable = "python3"


if __name__ == "__main__":
    main(sys.argv[1])
