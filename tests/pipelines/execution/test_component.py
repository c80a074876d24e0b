"""The arguments of `python -m pipelines component`, without docker."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipelines.execution.component import (
    component_names,
    find_record,
    load_component,
    prepare_component,
    read_parameter,
)
from pipelines.execution.docker import PLACE_PARAMETERS, find_mounts, launch_container
from ssd_core.errors import UsageError
from ssd_core.store import LocalDirectory
from tests.pipelines.conftest import Command

ROOT = Path(__file__).parents[3]
ON_CPU = {"framework": "torch", "device": "cpu", "recipe": "{}"}


def prepare(name: str, out_dir: Path, record: Any = None, **words: Any) -> Any:
    words = {"inputs": {}, "parameters": {}} | words
    return prepare_component(name, "tools:1", out_dir, record=record, **words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("convrt",), "unknown component 'convrt'; did you mean 'convert'?"),
        (("convert", "--param", "sorce=x"), "unknown parameter of convert 'sorce'; did you mean"),
        (("convert", "--param", "source"), "--param source: expected NAME=VALUE"),
        (
            ("convert", "--param", "source=.", "--param", "recipe=3"),
            "recipe must be a JSON object, got '3'",
        ),
        (("convert", "--input", "x=y"), "needs --param recipe=... --param source=..."),
        (("evaluate", "--from-run", "/nowhere"), "no invocation.json of 'evaluate' here"),
    ],
)
def test_wrong_arguments_are_refused(
    pipelines: Command, words: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    where = ("--image", "tools:1", "--out", str(tmp_path / "out"))
    assert message in pipelines.fails(2, "component", *words, *where)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("has_client", [True, False])
def test_missing_docker_is_one_line_and_exit_75(has_client: bool, tmp_path: Path) -> None:
    """The client is a script with the error of docker without a daemon."""
    if has_client:
        client = tmp_path / "docker"
        client.write_text("#!/bin/sh\necho Cannot connect to the Docker daemon >&2\nexit 1\n")
        client.chmod(0o755)
    words = ["resolve_config", "--param", "recipe=demo", "--param", "overrides=[]"]
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
        ("STRING", "12", "12"),
        ("NUMBER_INTEGER", "12", 12),
        ("NUMBER_DOUBLE", "0.5", 0.5),
        ("BOOLEAN", "true", True),
        ("LIST", "[1]", [1]),
        ("STRUCT", '{"a": 1}', {"a": 1}),
    ],
)
def test_values_have_the_type_of_their_parameter(
    kind: str, text: str, value: Any, tmp_path: Path
) -> None:
    assert read_parameter("name", kind, text) == value
    path = tmp_path / "value"
    path.write_text(text)
    assert read_parameter("name", kind, f"@{path}") == value


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        ("NUMBER_INTEGER", "1.5", "an integer"),
        ("NUMBER_INTEGER", "true", "an integer"),
        ("BOOLEAN", "1", "true or false"),
        ("STRUCT", "[]", "a JSON object"),
        ("LIST", "a b", "a JSON list"),
    ],
)
def test_values_of_another_type(kind: str, text: str, expected: str) -> None:
    with pytest.raises(UsageError, match=f"--param name must be {expected}, got "):
        read_parameter("name", kind, text)


def test_place_parameters_are_those_described_as_paths() -> None:
    described = {
        name
        for component in component_names()
        for name, entry in load_component(component)
        .component["inputDefinitions"]["parameters"]
        .items()
        if entry.get("description", "").startswith(("Path or URI", "URI of a store"))
    }
    assert described == PLACE_PARAMETERS


def test_artifacts_must_exist_and_be_of_their_kind(
    bccd_shards: Path, trained_dir: Path, tmp_path: Path
) -> None:
    good = {"dataset": str(bccd_shards), "model": str(trained_dir)}
    step = prepare("evaluate", tmp_path, inputs=good, parameters=ON_CPU)
    read_only = {bccd_shards: False, trained_dir: False}
    assert find_mounts(step) == read_only | {tmp_path / "root": True, tmp_path: True}
    for name, text in {"dataset": trained_dir, "model": bccd_shards}.items():
        with pytest.raises(UsageError, match=f"^--input {name}: "):
            prepare("evaluate", tmp_path, inputs={**good, name: str(text)}, parameters=ON_CPU)
    with pytest.raises(UsageError, match="does not exist"):
        prepare("evaluate", tmp_path, inputs={**good, "model": "/nowhere"}, parameters=ON_CPU)
    other = {"dataset": str(bccd_shards), "evaluation": str(trained_dir)}
    with pytest.raises(UsageError, match="expected the output of 'evaluate', got 'train'"):
        prepare("report", tmp_path, inputs=other, parameters={"recipe": "{}"})


def test_record_provides_the_missing_inputs(
    bccd_shards: Path, trained_dir: Path, tmp_path: Path
) -> None:
    record = find_record("train", str(trained_dir), "out")
    step = prepare("train", tmp_path, record=record, parameters={"device": "cuda"})
    values = step.executor_input["inputs"]["parameterValues"]
    assert (values["framework"], values["device"]) == ("torch", "cuda")
    assert values["recipe"]["train"]["steps"] == 40
    (dataset,) = step.executor_input["inputs"]["artifacts"]["dataset"]["artifacts"]
    assert dataset["uri"] == str(bccd_shards)
    with pytest.raises(UsageError, match="is the output of 'train', not of 'evaluate'"):
        prepare("evaluate", tmp_path, record=LocalDirectory(trained_dir))


def test_record_is_found_by_the_id_of_its_run(trained_dir: Path, tmp_path: Path) -> None:
    """The invocation is enough: a failed stage has left nothing else."""
    step_dir = tmp_path / "runs" / "run-1" / "train"
    step_dir.mkdir(parents=True)
    (step_dir / "invocation.json").write_bytes((trained_dir / "invocation.json").read_bytes())
    for text in (str(step_dir), str(step_dir.parent), f"file://{step_dir}", "run-1"):
        assert find_record("train", text, str(tmp_path)).local == step_dir
    step = prepare("train", tmp_path / "out", record=LocalDirectory(step_dir))
    assert step.executor_input["inputs"]["parameterValues"]["recipe"]["train"]["steps"] == 40
    with pytest.raises(UsageError, match=f"run-2: no .* of a run of this name below {tmp_path}"):
        find_record("train", "run-2", str(tmp_path))


def test_training_on_several_nodes_is_repeated_from_its_record(
    trained_dir: Path, tmp_path: Path
) -> None:
    """On one machine, too: it leaves the record of a training."""
    invocation = json.loads((trained_dir / "invocation.json").read_text())
    invocation["options"] |= {"nodes": 2, "placement": {"image": "x:1"}}
    record = LocalDirectory(tmp_path / "runs" / "run-1" / "train")
    record.put("invocation.json", json.dumps(invocation).encode())
    for name, nodes in (("train_distributed", 2), ("train", None)):
        found = find_record(name, "run-1", str(tmp_path))
        step = prepare(name, tmp_path / name, record=found)
        assert step.executor_input["inputs"]["parameterValues"].get("nodes") == nodes


def test_line_is_quoted_and_contains_no_secret(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary")
    out_dir = tmp_path / "it's a $place"
    step = prepare("resolve_config", out_dir, parameters={"recipe": "demo", "overrides": "[]"})
    line = launch_container(step).line
    words = shlex.split(line.partition(" --executor_input ")[0])
    assert f"{out_dir}:{out_dir}" in words
    assert "AWS_SECRET_ACCESS_KEY" in words
    assert "canary" not in line
