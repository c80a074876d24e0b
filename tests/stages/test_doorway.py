"""What a step of a pipeline says, and how it ends."""

import logging
import subprocess
import sys

import pytest

from ssd_core import __version__
from ssd_core.errors import DataError
from ssd_core.logs import Progress, logger
from ssd_core.stages.doorway import PROGRESS_VARIABLE, doorway


def test_a_failing_stage_leaves_with_one_line_and_its_code(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as end, doorway():
        raise DataError("a.json: line 3: no box")
    assert end.value.code == 3
    said = capsys.readouterr().err.splitlines()
    assert said == [
        f"ssd-core {__version__}",
        "error: a.json: line 3: no box (exit 3)",
    ]
    assert logger.handlers == []
    assert logger.propagate


def test_a_bug_keeps_its_trace() -> None:
    with pytest.raises(KeyError), doorway():
        raise KeyError("x")


def test_every_record_is_shown_once(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.StreamHandler(sys.stderr)
    logging.getLogger().addHandler(root)
    try:
        with doorway():
            logger.info("once")
    finally:
        logging.getLogger().removeHandler(root)
    assert capsys.readouterr().err.count("once") == 1


def test_the_environment_sets_the_pace_of_progress() -> None:
    code = (
        "from ssd_core.stages.doorway import doorway\n"
        "from ssd_core.logs import Progress\n"
        "with doorway(), Progress('work', 2) as progress:\n"
        "    progress.update(1)\n"
    )
    done = subprocess.run(
        ["/usr/bin/env", f"{PROGRESS_VARIABLE}=0", sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "work 1/2" in done.stderr
    assert Progress.line_seconds == 10
