"""Results of a run, read from its store."""

import json
import os
import shutil
from pathlib import Path

import pytest

from ssd_core.config import PublishConfig
from ssd_core.errors import GateError
from ssd_core.stages.frame import Invocation, Results, run_stage
from ssd_core.store import LocalDirectory
from tests.pipelines.cluster.kfp_server import KfpServer
from tests.pipelines.conftest import TRAINING, Command


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a root with the results of four steps of the run `night`."""
    found = {
        "evaluate": {"metrics": {"ap": 0.25, "ap50": 0.512, "ap_small": None}},
        "benchmark": {"metrics": {"images_per_second": 1234.5}, "verdict": {"word": "slower"}},
        "report": {"metrics": {"ap": 0.25}},
        "export": {"metrics": {}, "file": "model.onnx"},
    }
    for step, results in found.items():
        folder = tmp_path / "root" / "runs" / "night" / step
        invocation = Invocation(stage=step, config={}, inputs={})
        run_stage(invocation, LocalDirectory(folder), lambda _, results=results: results)
    return tmp_path / "root"


def test_results_come_from_the_store(pipelines: Command, kfp_server: KfpServer, root: Path) -> None:
    lines = pipelines.lines("results", "night", f"--root={root}")
    assert [line.split() for line in lines[:-1]] == [
        ["evaluate", "ap", "0.25"],
        ["evaluate", "ap50", "0.512"],
        ["evaluate", "ap_small", "–"],
        ["benchmark", "images_per_second", "1234.5"],
        ["benchmark", "verdict", "slower"],
        ["report", str(root / "runs/night/report/report.html")],
        ["export", str(root / "runs/night/export/model.onnx")],
    ]
    assert lines[-1] == "AP 0.250 · AP50 0.512 · 1,234.5 images/s (slower)"
    found = json.loads("".join(pipelines.lines("results", "night", f"--root={root}", "--json")))
    assert found["evaluate"]["metrics"] == {"ap": 0.25, "ap50": 0.512, "ap_small": None}
    assert kfp_server.requests == []


def test_the_last_local_run_is_found_by_default(
    pipelines: Command, kfp_server: KfpServer, root: Path
) -> None:
    assert "out holds no runs; give the id of a run" in pipelines.fails(2, "results")
    root.rename("out")
    assert "no run 'nope' in out; the last is night; " in pipelines.fails(
        2, "results", "nope", "--endpoint="
    )
    expected = pipelines.lines("results", "night", "--root=out")
    assert pipelines.lines("results", "night") == expected
    assert pipelines.lines("results") == expected
    earlier = Path("out/runs/evening/evaluate")
    shutil.copytree("out/runs/night/evaluate", earlier)
    for path in earlier.iterdir():
        os.utime(path, (0, 0))
    assert pipelines.lines("results") == expected
    assert kfp_server.requests == []


def test_root_comes_from_the_server_by_default(
    pipelines: Command, kfp_server: KfpServer, root: Path
) -> None:
    run = pipelines.lines("submit", *TRAINING)[0]
    (root / "runs" / "night").rename(root / "runs" / run)
    kfp_server.runs[run].content["runtime_config"]["parameters"]["data_root"] = str(root)
    assert (
        pipelines.lines("results", run)[-1] == "AP 0.250 · AP50 0.512 · 1,234.5 images/s (slower)"
    )


def test_end_of_the_pipeline_is_reported(pipelines: Command, root: Path) -> None:
    record = LocalDirectory(root / "runs" / "night" / "publish")
    invocation = Invocation(stage="publish", config=PublishConfig(min_ap=0.3), inputs={})
    with pytest.raises(GateError):
        run_stage(invocation, record, fail)
    lines = pipelines.lines("results", "night", f"--root={root}")
    reason = "ap is 0.25; publish.min_ap requires at least 0.3"
    assert lines[-2].split(maxsplit=1) == ["publish", f"not finished: {reason}"]
    run_stage(invocation, record, lambda _: {"metrics": {"ap": 0.25}})
    lines = pipelines.lines("results", "night", f"--root={root}")
    assert lines[-3].split(maxsplit=1) == ["publish", "not published: no name"]
    shutil.rmtree(root / "runs/night/publish")
    published = {"metrics": {}, "uri": "s3://detectors/models/blood/1"}
    run_stage(invocation, record, lambda _: published)
    lines = pipelines.lines("results", "night", f"--root={root}")
    assert lines[-3].split() == ["publish", "s3://detectors/models/blood/1"]


def fail(folder: Path) -> Results:
    raise GateError("below its requirement")


@pytest.mark.parametrize(
    ("run", "content", "exit_code", "message"),
    [
        ("day", None, 2, "no results of the run 'day' there; either no step has finished"),
        ("../night", None, 2, "'../night' is not a valid name"),
        ("night", "{", 3, "evaluate/results.json is not JSON"),
        ("night", '{"metrics": {}}', 3, "evaluate/results.json has format version None"),
        ("night", "[]", 3, "evaluate/results.json: expected a JSON object"),
    ],
)
def test_missing_or_damaged_results(
    pipelines: Command, root: Path, run: str, content: str | None, exit_code: int, message: str
) -> None:
    if content is not None:
        (root / "runs" / "night" / "evaluate" / "results.json").write_text(content)
    assert message in pipelines.fails(exit_code, "results", run, f"--root={root}")
