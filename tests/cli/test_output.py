"""Where commands write: results to standard output, progress and warnings to standard error."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.commands import call_ssd
from tests.processes import SSD, run_ssd
from tests.rank_processes import finish_ranks, start_ranks


def as_json(*words: str | Path) -> Any:
    done = call_ssd(*words, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_figures_and_the_last_line_with_the_path_are_the_output(
    bccd_shards: Path, trained_dir: Path, tmp_path: Path
) -> None:
    where = ("--data", bccd_shards, "--out", tmp_path / "out", "--device", "cpu")
    done = run_ssd("evaluate", "--model", trained_dir, *where)
    *figures, path = done.stdout.splitlines()
    assert figures[0].startswith(" Average Precision")
    assert path == str(tmp_path / "out/results.json")
    assert "Average" not in done.stderr
    assert as_json("evaluate", "--model", trained_dir, *where)["output"] == path


def test_json_has_the_numbers_of_the_text(few_images: Path, tmp_path: Path) -> None:
    converted = as_json("convert", few_images, "--out", tmp_path / "shards")
    assert converted["metrics"]["images"] == 12
    assert converted["output"] == str(tmp_path / "shards")
    inspected = as_json("inspect", "--data", tmp_path / "shards", "--out", tmp_path / "inspection")
    assert inspected["output"] == str(tmp_path / "inspection/inspect.html")
    assert as_json("check", few_images)["errors"] == 0
    [verified] = as_json("verify", tmp_path / "shards")
    assert verified == {"directory": str(tmp_path / "shards"), "faults": []}
    assert as_json("gc", tmp_path / "shards") == []
    assert set(as_json("recipes")) >= {"demo", "ssd300_vgg16"}
    assert as_json("recipes", "demo")["name"] == "demo"


@pytest.mark.parametrize("words", [("recipes", "demo"), ("--help",), ("verify", "DATA")])
def test_a_closed_pipe_ends_a_command_quietly(bccd_shards: Path, words: tuple[str, ...]) -> None:
    command = [SSD, *(bccd_shards if word == "DATA" else word for word in words)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert (process.stderr.read(), process.wait()) == (b"", 141)


@pytest.mark.parametrize("words", [("recipes", "demo"), ("--help",)])
def test_a_full_disk_behind_the_output_is_one_line(words: tuple[str, ...]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([SSD, *words], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 75
    assert done.stderr.startswith("error: standard output: no space left on device")
    assert done.stderr.count("\n") == 1


def test_quiet_keeps_results_and_warnings(few_images: Path, tmp_path: Path) -> None:
    done = call_ssd("convert", few_images, "--quiet", "--out", tmp_path / "shards")
    assert (done.stderr, done.stdout.splitlines()[-1]) == ("", str(tmp_path / "shards"))
    assert "8 train + 4 val images" in done.stdout


@pytest.mark.parametrize("words", [("recipes", "dmo"), ("recipes", "--nonsense"), ("verify", "/x")])
def test_a_failure_is_one_json_document(words: tuple[str, ...]) -> None:
    done = run_ssd(*words, "--json")
    assert done.returncode == 2
    assert json.loads(done.stdout) == {"error": done.stderr.strip()[7:], "exit_code": 2}


def test_a_result_with_an_error_stays_the_only_document(few_images: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(few_images, tmp_path / "images"))
    next(folder.glob("JPEGImages/*")).write_bytes(b"")
    done = call_ssd("check", folder, "--json")
    assert done.returncode == 3
    assert json.loads(done.stdout)["findings"] == {"image_empty": 1}


def test_ranks_of_another_launcher_fail_in_one_json_document() -> None:
    ends = finish_ranks(start_ranks([str(SSD), "verify", "/nowhere", "--json"], 2))
    assert json.loads("".join(output for _, output, _ in ends))["exit_code"] == 2


def test_several_processes_fail_in_one_json_document(bccd_shards: Path, tmp_path: Path) -> None:
    words = ["--data", bccd_shards, "--recipe", "demo", "--out", tmp_path / "out"]
    changes = ["--set", "train.optimizer.learning_rate=1e38", "--epochs", "1", "--device", "cpu"]
    done = run_ssd("train", *words, *changes, "--num-devices", "2", "--json")
    assert done.returncode == 3
    assert json.loads(done.stdout)["exit_code"] == 3
