"""The frame of every stage: invocation before the work, results after it."""

from dataclasses import replace
from pathlib import Path

import pytest

from ssd_core import __version__
from ssd_core.errors import DataError, OwnershipError, UsageError
from ssd_core.stages.frame import Input, Invocation, run_stage
from ssd_core.stages.outputs import read_output
from ssd_core.store import LocalDirectory

TRAIN = Invocation(
    stage="train",
    config={"steps": 3},
    inputs={"dataset": Input("/shards", "ab")},
    options={"device": "cpu"},
)
RESULTS = {"metrics": {"loss": 1.5}}


def run(folder: Path, invocation: Invocation = TRAIN) -> None:
    run_stage(invocation, LocalDirectory(folder), lambda _: RESULTS)


@pytest.mark.parametrize("image", ["ssd/torch-cpu:0.1.0", ""])
def test_invocation_and_results_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, image: str
) -> None:
    monkeypatch.setenv("SSD_IMAGE", image)
    run(tmp_path)
    output = read_output(LocalDirectory(tmp_path))
    assert output.invocation == {
        "stage": "train",
        "version": __version__,
        "image": image,
        "config": {"steps": 3},
        "inputs": {"dataset": {"uri": "/shards", "digest": "ab"}},
        "options": {"device": "cpu"},
    }
    assert output.results == RESULTS


@pytest.mark.parametrize("options", [{}, {"is_measurement": True}])
def test_only_a_measurement_has_host_and_time(tmp_path: Path, options: dict[str, bool]) -> None:
    """Other results are reproducible, whatever they contain."""
    results = {"environment": {"device": "cpu"}}
    run_stage(TRAIN, LocalDirectory(tmp_path), lambda _: results, **options)
    found = dict(read_output(LocalDirectory(tmp_path)).results)
    assert set(found.pop("run", ())) == ({"host", "begun", "seconds"} if options else set())
    assert found == results


def test_ranks_do_not_repeat_the_work_of_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    variables = {"RANK": 0, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": 29500}
    for name, value in variables.items():
        monkeypatch.setenv(name, str(value))
    with pytest.raises(UsageError, match="'train' runs in one process, but 2 ranks were started"):
        run(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_run_leaves_its_invocation_and_no_results(tmp_path: Path) -> None:
    run(tmp_path)

    def fail(folder: Path) -> dict[str, object]:
        (folder / "half").touch()
        raise DataError("no")

    with pytest.raises(DataError, match="no"):
        run_stage(TRAIN, LocalDirectory(tmp_path), fail)
    assert [path.name for path in tmp_path.iterdir()] == ["invocation.json"]
    with pytest.raises(DataError, match=r"results\.json is missing: the stage has not finished"):
        read_output(LocalDirectory(tmp_path))


def test_a_damaged_request_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "invocation.json").write_text("{")
    with pytest.raises(OwnershipError, match="is damaged; choose another directory, or remove it"):
        run(tmp_path)
    assert (tmp_path / "invocation.json").read_text() == "{"


def test_the_directory_of_another_stage_is_refused(tmp_path: Path) -> None:
    run(tmp_path)
    with pytest.raises(OwnershipError, match="holds the output of 'train'; choose another"):
        run(tmp_path, Invocation(stage="inspect", config={}, inputs={}))
    assert read_output(LocalDirectory(tmp_path)).results == RESULTS


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON"),
        ("[" * 100_000, "recursion limit exceeded"),
        ("[]", "a JSON object"),
        ("{}", "has format version None, expected 2"),
        ('{"format_version": 1}', "has format version 1, expected 2"),
        ('{"format_version": 2}', "invocation is missing"),
        ('{"format_version": 2, "invocation": "a", "files": []}', "belongs to another invocation"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, content: str, message: str) -> None:
    run(tmp_path)
    (tmp_path / "results.json").write_text(content)
    with pytest.raises(DataError, match=rf"results\.json.*{message}.*; run the stage again"):
        read_output(LocalDirectory(tmp_path))


def test_a_number_outside_json_is_a_bug(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        run_stage(TRAIN, LocalDirectory(tmp_path), lambda _: {"loss": float("nan")})
    assert not (tmp_path / "results.json").exists()


@pytest.mark.parametrize("name", ["notes.txt", "folder/file"])
def test_a_directory_with_other_files_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine")
    with pytest.raises(OwnershipError, match=r"holds files, but no invocation\.json of 'train'"):
        run(tmp_path)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [Path(name).name]


def test_of_two_runs_the_later_one_gets_the_directory(tmp_path: Path) -> None:
    out_dir = LocalDirectory(tmp_path)
    later = replace(TRAIN, options={"device": "cuda"})

    def work(folder: Path) -> dict[str, object]:
        (folder / "weights").write_text("first")
        run_stage(later, out_dir, lambda inner: (inner / "weights").write_text("later") and RESULTS)
        return {"metrics": {"loss": 9.0}}

    with pytest.raises(OwnershipError, match="a later run with other inputs has claimed it"):
        run_stage(TRAIN, out_dir, work)
    output = read_output(out_dir)
    assert (output.results, output.read("weights")) == (RESULTS, b"later")
    assert output.invocation["options"] == {"device": "cuda"}


def test_a_changed_file_is_named(tmp_path: Path) -> None:
    out_dir = LocalDirectory(tmp_path)
    run_stage(TRAIN, out_dir, lambda folder: (folder / "weights").write_text("ours") and RESULTS)
    (tmp_path / "weights").write_text("else")
    with pytest.raises(DataError, match="weights is damaged: .*; run the stage again"):
        read_output(out_dir).read("weights")
