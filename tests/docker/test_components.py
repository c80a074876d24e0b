"""Every component in its image: an unknown user, only outputs writable, no network."""

import json
import subprocess
from pathlib import Path

import pytest

from components import images
from pipelines.execution.component import component_names
from ssd_core.model_dir import read_model
from ssd_core.store import LocalDirectory
from tests.docker.restricted import (
    RESTRICTIONS,
    STRANGER,
    TORCH,
    Done,
    open_to_all,
    run_component,
    run_pipelines,
)

CHANGES = {
    "train.steps": 3,
    "train.batch_size": 2,
    "benchmark.seconds": 0.1,
    "benchmark.batch_sizes": [1],
    "report.images": 2,
}
ON_CPU = ("--param", "framework=torch", "--param", "device=cpu")
NODES = {"image": TORCH, "job": {"kind": "TrainJob", "runtime": "ssd-torch-cpu"}}
ON_NODES = ("--param", "nodes=2", "--param", f"placement={json.dumps(NODES)}")
OUTPUTS = {
    "resolve_config": "executor_output.json",
    "convert_share": "executor_output.json",
    "convert": "dataset",
    "train": "model/model/config.json",
    "train_distributed": "model/model/config.json",
    "evaluate": "evaluation/results.json",
    "benchmark": "speed/results.json",
    "report": "page",
    "publish": "published/results.json",
    "export": "exported/model.onnx",
    "fetch_model": "model/config.json",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("components")


@pytest.fixture(scope="module")
def done(place: Path, few_images: Path) -> dict[str, Done]:
    """Run the components, each on the outputs of those before it."""
    results: dict[str, Done] = {}
    recipe: tuple[str, ...] = ()

    def run(name: str, image: str, *words: str) -> None:
        results[name] = run_component(name, image, place / name, *recipe, *words)
        assert results[name].returncode == 0, results[name].stderr

    overrides = f"overrides={json.dumps([f'{key}={value}' for key, value in CHANGES.items()])}"
    root = ("--param", f"data_root={open_to_all(place / 'root')}")
    run("resolve_config", images.TOOLS, "--param", "recipe=demo", "--param", overrides, *root)
    outputs = json.loads((place / "resolve_config" / "executor_output.json").read_text())
    recipe = ("--param", f"recipe={json.dumps(outputs['parameterValues']['recipe'])}")
    dataset = ("--input", f"dataset={place / 'convert' / 'dataset'}")
    model = ("--input", f"model={place / 'train' / 'model'}")
    found = ("--input", f"evaluation={place / 'evaluate' / 'evaluation'}")
    found += ("--input", f"speed={place / 'benchmark' / 'speed'}")
    share = ("--param", "share=1/2")
    run("convert_share", images.TOOLS, "--param", f"source={few_images}", *share, *root)
    run("convert", images.TOOLS, "--param", f"source={few_images}", *root)
    run("train", TORCH, *ON_CPU, *root, *dataset)
    # What has been trained there is returned at once, for which the launcher needs no cluster.
    run("train_distributed", images.LAUNCHER, *ON_NODES, *ON_CPU, *root, *dataset)
    run("evaluate", TORCH, *ON_CPU, *root, *dataset, *model)
    run("benchmark", TORCH, "--param", "series=", *ON_CPU, *root, *dataset, *model)
    run("report", images.TOOLS, *root, *dataset, *model, *found)
    run("publish", images.TOOLS, "--param", "name=", "--param", "version=", *root, *model, *found)
    recipe = ()
    run("export", TORCH, "--param", "format=onnx", "--param", "framework=torch", *root, *model)
    run("fetch_model", images.TOOLS, *root, "--param", f"uri={place / 'train' / 'model'}")
    return results


def test_every_component_is_tested() -> None:
    assert set(OUTPUTS) == set(component_names())


@pytest.mark.parametrize("name", OUTPUTS)
def test_outputs_exist_and_belong_to_the_caller(
    done: dict[str, Done], place: Path, name: str
) -> None:
    assert done[name].stdout.splitlines()[-1] == str(place / name)
    output = place / name / OUTPUTS[name]
    assert output.is_file()
    assert output.stat().st_uid == STRANGER


def test_model_can_be_read(done: dict[str, Done], place: Path) -> None:
    assert (
        read_model(LocalDirectory(place / "fetch_model" / "model")).description.step
        == CHANGES["train.steps"]
    )


def test_metrics_reach_kubeflow(done: dict[str, Done], place: Path) -> None:
    output = json.loads((place / "evaluate" / "executor_output.json").read_text())
    (metrics,) = output["artifacts"]["metrics"]["artifacts"]
    assert "ap50" in metrics["metadata"]


def test_printed_line_can_be_pasted(done: dict[str, Done], place: Path) -> None:
    line = done["evaluate"].stdout.splitlines()[0]
    assert line.startswith("docker run ")
    assert all(word in line.split() for word in RESTRICTIONS)
    output = place / "evaluate" / "executor_output.json"
    before = output.read_text()
    output.unlink()
    pasted = subprocess.run(["bash", "-c", line], cwd="/", capture_output=True, check=False)
    assert pasted.returncode == 0, pasted.stderr
    assert json.loads(output.read_text()).keys() == json.loads(before).keys()


def test_step_is_repeated_from_its_record(
    done: dict[str, Done], place: Path, tmp_path: Path
) -> None:
    record = place / "evaluate" / "evaluation"
    words = ("--from-run", str(record))
    again = run_pipelines(
        *("component", "evaluate", "--image", TORCH, "--out", str(tmp_path / "again")), *words
    )
    assert again.returncode == 0, again.stderr
    first, second = (
        json.loads((folder / "invocation.json").read_text())
        for folder in (record, tmp_path / "again" / "evaluation")
    )
    assert second["config"] == first["config"]
    assert second["image"] == first["image"] == TORCH


def test_launcher_fails_with_one_line(done: dict[str, Done], place: Path) -> None:
    outputs = json.loads((place / "resolve_config" / "executor_output.json").read_text())
    recipe = outputs["parameterValues"]["recipe"]
    recipe["train"]["seed"] = 7
    words = (*ON_NODES, *ON_CPU, "--param", f"recipe={json.dumps(recipe)}")
    words += ("--param", f"data_root={place / 'root'}")
    words += ("--input", f"dataset={place / 'convert' / 'dataset'}")
    ended = run_component("train_distributed", images.LAUNCHER, place / "other", *words)
    assert ended.returncode == 2, ended.stderr
    assert "which other nodes cannot read; use s3://" in ended.stderr
    assert "Traceback" not in ended.stderr
