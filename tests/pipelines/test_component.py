"""The words of `python -m pipelines component`, as far as they need no docker."""

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipelines.component_arguments import PLACE_PARAMETERS, Words, find_record, parse_parameter
from pipelines.docker import docker_line, write_step
from pipelines.docker_component import component_names, prepare_step
from ssd_core.errors import OwnershipError, UsageError

ROOT = Path(__file__).parents[2]
ON_CPU = {"framework": "torch", "device": "cpu", "config": "{}"}


def prepare(name: str, out_dir: Path, record: Any = None, **words: Any) -> Any:
    return prepare_step(name, "tools:1", Words(**words), out_dir, record=record)


def load_spec(name: str) -> Any:
    module = __import__(f"components.{name}.component", fromlist=[name])
    return getattr(module, name).component_spec


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("convrt",), "unknown component 'convrt'; did you mean 'convert'?"),
        (("convert", "--param", "sorce=x"), "unknown parameter of convert 'sorce'; did you mean"),
        (("convert", "--param", "source"), "--param source: expected NAME=VALUE"),
        (("convert", "--param", "source=.", "--param", "config=3"), "config must be Dict as JSON"),
        (("convert", "--input", "x=y"), "needs --param config=... --param source=..."),
        (("evaluate", "--from-run", "/nowhere"), "no invocation.json of 'evaluate' here"),
    ],
)
def test_wrong_words_are_one_line_and_exit_2(
    words: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "pipelines", "component", *words]
    command += ["--image", "tools:1", "--out", str(tmp_path / "out")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert message in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("has_client", [True, False])
def test_no_docker_is_one_line_and_exit_75(has_client: bool, tmp_path: Path) -> None:
    """The client is a script that speaks as docker's does where no daemon answers."""
    if has_client:
        client = tmp_path / "docker"
        client.write_text("#!/bin/sh\necho Cannot connect to the Docker daemon >&2\nexit 1\n")
        client.chmod(0o755)
    words = ["resolve_config", "--param", "recipe=demo", "--param", "overrides={}"]
    command = [sys.executable, "-m", "pipelines", "component", *words, "--image", "tools:1"]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr.count("\n")) == (75, 1), done.stderr
    assert "docker" in done.stderr


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("String", "12", "12"),
        ("Integer", "12", 12),
        ("Double", "0.5", 0.5),
        ("Boolean", "true", True),
        ("List[str]", "[1]", [1]),
        ("Dict[str, Any]", '{"a": 1}', {"a": 1}),
    ],
)
def test_values_have_the_type_of_their_parameter(
    kind: str, text: str, value: Any, tmp_path: Path
) -> None:
    assert parse_parameter("name", kind, text) == value
    path = tmp_path / "value"
    path.write_text(text)
    assert parse_parameter("name", kind, f"@{path}") == value


@pytest.mark.parametrize(
    ("kind", "text"),
    [("Integer", "1.5"), ("Integer", "true"), ("Boolean", "1"), ("Dict", "[]"), ("List", "a b")],
)
def test_values_of_another_type(kind: str, text: str) -> None:
    with pytest.raises(UsageError, match=f"--param name must be {kind} as JSON"):
        parse_parameter("name", kind, text)


def test_places_are_the_parameters_that_speak_of_paths() -> None:
    spoken = {
        name
        for component in component_names()
        for name, entry in (load_spec(component).inputs or {}).items()
        if (entry.description or "").startswith("Path or URI")
    }
    assert spoken == PLACE_PARAMETERS


def test_artifacts_must_be_there_and_of_their_kind(
    bccd_shards: Path, trained_dir: Path, tmp_path: Path
) -> None:
    good = {"dataset": str(bccd_shards), "model": str(trained_dir)}
    step = prepare("evaluate", tmp_path, inputs=good, parameters=ON_CPU)
    assert step.mounts == {bccd_shards: False, trained_dir: False, tmp_path / "root": True}
    for name, text in {"dataset": trained_dir, "model": bccd_shards}.items():
        with pytest.raises(UsageError, match=f"^--input {name}: "):
            prepare("evaluate", tmp_path, inputs={**good, name: str(text)}, parameters=ON_CPU)
    with pytest.raises(UsageError, match="does not exist"):
        prepare("evaluate", tmp_path, inputs={**good, "model": "/nowhere"}, parameters=ON_CPU)
    with pytest.raises(UsageError, match="expected a local path"):
        prepare("evaluate", tmp_path, inputs={**good, "model": "s3://bucket/m"}, parameters=ON_CPU)
    other = {"dataset": str(bccd_shards), "evaluation": str(trained_dir)}
    with pytest.raises(UsageError, match="expected the output of 'evaluate', got 'train'"):
        prepare("report", tmp_path, inputs=other, parameters={"config": "{}"})


def test_a_record_fills_in_what_is_not_said(
    bccd_shards: Path, trained_dir: Path, tmp_path: Path
) -> None:
    record = find_record("train", str(trained_dir), "out")
    step = prepare("train", tmp_path, record=record, parameters={"device": "cuda"})
    values = step.executor_input["inputs"]["parameterValues"]
    assert (values["recipe"], values["framework"], values["device"]) == ("demo", "torch", "cuda")
    assert values["config"]["steps"] == 40
    (dataset,) = step.executor_input["inputs"]["artifacts"]["dataset"]["artifacts"]
    assert dataset["uri"] == str(bccd_shards)
    with pytest.raises(UsageError, match="is the output of 'train', not of 'evaluate'"):
        prepare("evaluate", tmp_path, record=trained_dir)


def test_a_record_is_found_by_the_id_of_its_run(trained_dir: Path, tmp_path: Path) -> None:
    """What the stage was asked is enough: one that failed has left nothing else."""
    step_dir = tmp_path / "runs" / "run-1" / "train"
    step_dir.mkdir(parents=True)
    (step_dir / "invocation.json").write_bytes((trained_dir / "invocation.json").read_bytes())
    for text in (str(step_dir), str(step_dir.parent), f"file://{step_dir}", "run-1"):
        assert find_record("train", text, str(tmp_path)) == step_dir
    step = prepare("train", tmp_path / "out", record=step_dir)
    assert step.executor_input["inputs"]["parameterValues"]["recipe"] == "demo"
    with pytest.raises(UsageError, match=f"run-2: no .* of a run of this name below {tmp_path}"):
        find_record("train", "run-2", str(tmp_path))


def test_the_line_is_quoted_and_holds_no_secret(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary")
    out_dir = tmp_path / "it's a $place"
    step = prepare("resolve_config", out_dir, parameters={"recipe": "demo", "overrides": "{}"})
    words = shlex.split(docker_line(step).partition(" --executor_input ")[0])
    assert f"{out_dir}:{out_dir}" in words
    assert "AWS_SECRET_ACCESS_KEY" in words
    assert "canary" not in docker_line(step)


def test_a_place_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    step = prepare("resolve_config", tmp_path, parameters={"recipe": "demo", "overrides": "{}"})
    with pytest.raises(OwnershipError):
        write_step(step)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
