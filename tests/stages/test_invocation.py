"""The two files beside the outputs of every stage."""

from pathlib import Path

import pytest

from ssd_core import __version__
from ssd_core.errors import DataError, OwnershipError, UsageError
from ssd_core.stages.invocation import (
    prepare_out_dir,
    read_output,
    write_invocation,
    write_results,
)
from ssd_core.store import LocalDirectory

INPUTS = {"data_dir": {"uri": "/shards", "digest": "ab"}}


def test_what_is_written_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSD_IMAGE", "ssd/torch-cpu:0.1.0")
    write_invocation(LocalDirectory(tmp_path), "train", {"steps": 3}, inputs=INPUTS, device="cpu")
    write_results(LocalDirectory(tmp_path), {"metrics": {"loss": 1.5}})
    output = read_output(tmp_path)
    assert output.invocation == {
        "stage": "train",
        "version": __version__,
        "image": "ssd/torch-cpu:0.1.0",
        "config": {"steps": 3},
        "inputs": INPUTS,
        "options": {"device": "cpu"},
    }
    assert output.results == {"metrics": {"loss": 1.5}}


def test_outside_of_a_container_there_is_no_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSD_IMAGE", raising=False)
    write_invocation(LocalDirectory(tmp_path), "train", {}, inputs={})
    write_results(LocalDirectory(tmp_path), {})
    assert read_output(tmp_path).invocation["image"] == ""


def test_preparing_forgets_the_results_of_an_earlier_run(tmp_path: Path) -> None:
    write_invocation(LocalDirectory(tmp_path), "train", {}, inputs={})
    write_results(LocalDirectory(tmp_path), {})
    prepare_out_dir(LocalDirectory(tmp_path), "train")
    with pytest.raises(DataError, match=r"results\.json is missing: the stage has not finished"):
        read_output(tmp_path)


def test_the_place_of_another_stage_is_refused(tmp_path: Path) -> None:
    write_invocation(LocalDirectory(tmp_path), "convert", {}, inputs={})
    write_results(LocalDirectory(tmp_path), {"images": 3})
    with pytest.raises(OwnershipError, match="holds the output of 'convert'; choose another"):
        prepare_out_dir(LocalDirectory(tmp_path), "inspect")
    assert read_output(tmp_path).results == {"images": 3}


def test_a_directory_of_no_stage_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no invocation\.json here; expected the output"):
        read_output(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON"),
        ("[" * 100_000, "nested too deeply"),
        ("[]", "a JSON object"),
        ("{}", "has format version None, this program reads 1"),
        ('{"format_version": 2}', "has format version 2, this program reads 1"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, content: str, message: str) -> None:
    write_invocation(LocalDirectory(tmp_path), "train", {}, inputs={})
    (tmp_path / "results.json").write_text(content)
    with pytest.raises(DataError, match=rf"results\.json.*{message}.*; run the stage again"):
        read_output(tmp_path)


def test_a_number_that_json_does_not_know_is_a_bug(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        write_results(LocalDirectory(tmp_path), {"loss": float("nan")})
    assert not (tmp_path / "results.json").exists()
