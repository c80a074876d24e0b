"""The log and the exit code of a pipeline step, and its inputs and outputs."""

import logging
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from ssd_core import __version__
from ssd_core.errors import DataError
from ssd_core.logs import Progress, logger
from ssd_core.stages.doorway import (
    PROGRESS_VARIABLE,
    doorway,
    fill_output,
    find_input,
    record_step,
)
from ssd_core.stages.frame import Invocation
from ssd_core.stages.outputs import read_invocation, read_output
from ssd_core.store import LocalDirectory
from ssd_core.structures import StageResult


def test_a_failing_stage_ends_with_one_line_and_its_exit_code(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as end, doorway():
        raise DataError("a.json: line 3: no box")
    assert end.value.code == 3
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"ssd-core {__version__}", "error: a.json: line 3: no box (exit 3)"]
    assert logger.handlers == []
    assert logger.propagate


def test_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(KeyError), doorway():
        raise KeyError("x")


def test_every_log_record_is_printed_once(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.StreamHandler(sys.stderr)
    logging.getLogger().addHandler(root)
    try:
        with doorway():
            logger.info("once")
    finally:
        logging.getLogger().removeHandler(root)
    assert capsys.readouterr().err.count("once") == 1


def test_the_environment_sets_the_interval_of_progress_lines() -> None:
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


def test_an_input_is_found_by_its_reference_or_at_its_path() -> None:
    reference = SimpleNamespace(metadata={"uri": "s3://bucket/shards"}, path="/s3/copy")
    assert find_input(reference).uri == "s3://bucket/shards"
    assert find_input(SimpleNamespace(metadata={"step": 3}, path="/a/model")).uri == "/a/model"


def test_an_output_is_copied_and_referred_to(tmp_path: Path) -> None:
    for name in ("results.json", "checkpoints/1"):
        LocalDirectory(tmp_path / "out").put(name, name.encode())
    artifact = SimpleNamespace(metadata={}, path=str(tmp_path / "artifact"))
    out_dir = LocalDirectory(tmp_path / "out")
    fill_output(artifact, out_dir, StageResult(metadata={"steps": 3}), leave_out="checkpoints/")
    assert artifact.metadata == {"uri": out_dir.uri, "steps": 3}
    assert [path.name for path in (tmp_path / "artifact").iterdir()] == ["results.json"]


def test_a_step_leaves_its_record_also_if_it_fails(tmp_path: Path) -> None:
    record = LocalDirectory(tmp_path)
    invocation = Invocation(stage="convert", config={}, inputs={}, options={"source": "/a"})

    def fail() -> StageResult:
        raise DataError("no box")

    with pytest.raises(DataError):
        record_step(invocation, record, fail)
    assert read_invocation(record)["options"] == {"source": "/a"}
    result = StageResult(metrics={"images": 3}, metadata={"uri": "/b"})
    assert record_step(invocation, record, lambda: result) == result
    assert read_output(record).results["metrics"] == {"images": 3}
