"""A whole pipeline in containers, and killed containers."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from components import images
from tests.docker.restricted import (
    MINDSPORE,
    ROOT,
    TORCH,
    Done,
    open_to_all,
    run_component,
    run_pipelines,
)
from tests.processes import descendants, wait_until_gone
from tests.store.servers import wait_until

QUICK = ("train.batch_size=2", "benchmark.seconds=0.1", "benchmark.batch_sizes=[1]")
HOURS = "train.steps=100000"


def words(root: Path, dataset: Path, *changes: str) -> list[str]:
    command = ["run", "training", "--docker", "--recipe", "demo", "--dataset", str(dataset)]
    command += ["--root", str(root)]
    for change in (*QUICK, *changes):
        command += ["--set", change]
    return command


def containers(root: Path) -> list[str]:
    """Return the running containers that see this root."""
    listing = ["docker", "ps", "--quiet", "--filter", f"volume={root}"]
    return subprocess.run(listing, capture_output=True, text=True, check=True).stdout.split()


@pytest.fixture
def training(tmp_path: Path, few_images: Path) -> "Iterator[subprocess.Popen[str]]":
    """Start a run that would take hours, and go on when its container has a checkpoint."""
    command = words(tmp_path, few_images, HOURS, "train.checkpoint_interval=2")
    with subprocess.Popen(
        [sys.executable, "-m", "pipelines", *command],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        while not list(tmp_path.glob("training/*/checkpoints/step-*/checkpoint.json")):
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        yield process
        process.kill()


@pytest.mark.parametrize(
    ("framework", "image"), [("torch", TORCH), ("mindspore", MINDSPORE)], ids=["torch", "mindspore"]
)
def test_the_whole_pipeline(framework: str, image: str, tmp_path: Path, few_images: Path) -> None:
    command = [*words(tmp_path, few_images, "train.steps=3"), "--framework", framework]
    done = run_pipelines(*command)
    assert done.returncode == 0, done.stderr
    (report,) = tmp_path.glob("runs/*/report/report.html")
    assert f"<td>{framework} 2." in report.read_text()
    (invocation,) = tmp_path.glob("runs/*/evaluate/invocation.json")
    assert f'"image": "{image}"' in invocation.read_text()
    assert containers(tmp_path) == []


def test_killed_container_is_a_failure(training: "subprocess.Popen[str]", tmp_path: Path) -> None:
    (container,) = containers(tmp_path)
    subprocess.run(["docker", "kill", container], capture_output=True, check=True)
    _, errors = training.communicate()
    assert training.returncode == 75, errors
    assert errors.startswith("error: train was killed")


def test_no_container_outlives_a_killed_run(
    training: "subprocess.Popen[str]", tmp_path: Path
) -> None:
    assert len(containers(tmp_path)) == 1
    below = descendants(training.pid)
    training.kill()
    wait_until_gone(*below)
    assert wait_until(lambda: containers(tmp_path) == [])


def test_exit_code_is_that_of_the_stage(tmp_path: Path) -> None:
    dataset = tmp_path / "dataset"
    dataset.mkdir()
    done = run_component(
        "convert",
        images.TOOLS,
        tmp_path / "convert",
        *("--param", f"source={dataset}", "--param", "recipe={}"),
        options=(),
    )
    assert done.returncode in (2, 3)
    assert done.stderr.splitlines()[-1].startswith("error: convert: ")
    assert "Traceback" not in done.stderr


def test_image_with_an_entry_point_has_not_succeeded(tmp_path: Path) -> None:
    """An exit code of 0 alone proves nothing: an entry point may ignore the command."""
    done: Done = run_component(
        "resolve_config",
        images.TOOLS,
        tmp_path / "out",
        *("--param", "recipe=demo", "--param", "overrides=[]"),
        options=("--entrypoint", "true"),
    )
    assert done.returncode == 2
    assert "did not run resolve_config (exit 0, no executor_output.json)" in done.stderr


def test_output_of_an_earlier_run_is_not_a_success(tmp_path: Path) -> None:
    given = ("--param", "recipe=demo", "--param", "overrides=[]")
    given += ("--param", f"data_root={open_to_all(tmp_path / 'root')}")
    place = tmp_path / "out"
    assert run_component("resolve_config", images.TOOLS, place, *given).returncode == 0
    ended = run_component(
        "resolve_config", images.TOOLS, place, *given, options=("--entrypoint", "true")
    )
    assert ended.returncode == 2


def test_missing_image(tmp_path: Path) -> None:
    given = ("--param", "recipe=demo", "--param", "overrides=[]")
    ended = run_component("resolve_config", "nowhere/nothing:1", tmp_path / "out", *given)
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
    assert "nowhere/nothing:1 is not on this machine" in ended.stderr
