"""The frame of every stage: invocation before the work, results after it."""

from pathlib import Path

import pytest

from ssd_core import __version__
from ssd_core.errors import DataError, OwnershipError, UsageError
from ssd_core.stages.frame import Input, Invocation, read_output, run_stage
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


def test_a_failed_run_leaves_its_invocation_and_no_results(tmp_path: Path) -> None:
    run(tmp_path)

    def fail(folder: Path) -> dict[str, object]:
        assert folder == tmp_path
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


def test_a_directory_without_an_invocation_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"has no invocation\.json; expected the output"):
        read_output(LocalDirectory(tmp_path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON"),
        ("[" * 100_000, "nested too deeply"),
        ("[]", "a JSON object"),
        ("{}", "has format version None, expected 1"),
        ('{"format_version": 2}', "has format version 2, expected 1"),
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
