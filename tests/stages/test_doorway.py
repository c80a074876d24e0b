"""The log and the exit code of a pipeline step, and its inputs and outputs."""

import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest

from ssd_core import __version__
from ssd_core.errors import DataError, UsageError
from ssd_core.logs import Progress, logger
from ssd_core.stages.doorway import (
    PROGRESS_VARIABLE,
    doorway,
    find_dataset,
    keep_output,
    keep_record,
)
from ssd_core.store import LocalDirectory


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


@pytest.mark.parametrize("uri", ["/data/shards", "s3://bucket/shards"])
def test_a_data_set_is_found_by_metadata_or_file(tmp_path: Path, uri: str) -> None:
    path = tmp_path / "dataset"
    path.write_text(json.dumps({"uri": uri, "digest": "d"}))
    assert find_dataset({"uri": uri}, "nowhere").uri == uri
    assert find_dataset({}, str(path)).uri == uri
    assert find_dataset({"display_name": "dataset"}, str(tmp_path)).local == tmp_path


@pytest.mark.parametrize("content", [None, b"", b"[]", b"{}", b"{", b"\xff", b'{"uri": 1}'])
def test_a_path_that_is_not_a_data_set_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "dataset"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=f"{path}: not a data set; expected the output of"):
        find_dataset({}, str(path))


def test_outputs_are_kept_whole_or_as_a_record(tmp_path: Path) -> None:
    names = ["invocation.json", "results.json", "weights.bin"]
    (tmp_path / "output").mkdir()
    for name in names:
        (tmp_path / "output" / name).write_text(name)
    keep_output(tmp_path / "output", LocalDirectory(tmp_path / "whole"))
    keep_record(tmp_path / "output", LocalDirectory(tmp_path / "record"))
    assert sorted(path.name for path in (tmp_path / "whole").iterdir()) == names
    assert sorted(path.name for path in (tmp_path / "record").iterdir()) == names[:2]
