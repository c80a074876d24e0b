"""The compiled training pipeline, as Kubeflow Pipelines would read it."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from ssd_core import __version__

ROOT = Path(__file__).parents[2]
STEPS = ("resolve-config", "convert", "train", "evaluate", "benchmark", "report")
DEVICE_STEPS = ("train", "evaluate", "benchmark")


def compile_training(path: Path, *words: str) -> bytes:
    command = [sys.executable, "-m", "pipelines", "compile", "training", "-o", str(path), *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == f"{path}\n"
    assert done.stderr == ""
    return path.read_bytes()


@pytest.fixture(scope="module")
def cuda_bytes(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("compile") / "training.yaml"
    return compile_training(path, "--placement", "torch-cuda")


@pytest.fixture(scope="module")
def cuda(cuda_bytes: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    pipeline, platform = yaml.safe_load_all(cuda_bytes)
    return pipeline, platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]


def container(pipeline: dict[str, Any], step: str) -> dict[str, Any]:
    (executor,) = pipeline["deploymentSpec"]["executors"][f"exec-{step}"].values()
    assert isinstance(executor, dict)
    return executor


def test_two_processes_write_the_same_bytes(tmp_path: Path, cuda_bytes: bytes) -> None:
    again = compile_training(tmp_path / "again.yaml", "--placement", "torch-cuda")
    assert again == cuda_bytes


def test_images_are_pinned_to_the_version(
    cuda: tuple[dict[str, Any], Any], cuda_bytes: bytes
) -> None:
    images = {step: container(cuda[0], step)["image"] for step in STEPS}
    assert images == {
        step: f"ssd-on-kubeflow/{'torch-cuda' if step in DEVICE_STEPS else 'tools'}:{__version__}"
        for step in STEPS
    }
    assert b"latest" not in cuda_bytes


def test_no_step_installs_anything(cuda_bytes: bytes) -> None:
    assert b"pip install" not in cuda_bytes


def test_caching_is_off_where_content_or_surroundings_matter(
    cuda: tuple[dict[str, Any], Any],
) -> None:
    tasks = cuda[0]["root"]["dag"]["tasks"]
    cached = {step for step in STEPS if tasks[step]["cachingOptions"].get("enableCache")}
    assert cached == {"resolve-config", "evaluate", "report"}


def test_nothing_runs_beside_the_benchmark(cuda: tuple[dict[str, Any], Any]) -> None:
    tasks = cuda[0]["root"]["dag"]["tasks"]
    before = set(tasks["benchmark"]["dependentTasks"])
    after = {step for step in STEPS if "benchmark" in tasks[step].get("dependentTasks", ())}
    assert before | after | {"benchmark"} == set(STEPS)


def test_every_step_has_a_writable_tmp(cuda: tuple[Any, dict[str, Any]]) -> None:
    for step in STEPS:
        mounts = cuda[1][f"exec-{step}"]["emptyDirMounts"]
        assert {"mountPath": "/tmp", "volumeName": "tmp"} in mounts


def test_the_accelerator_is_a_constant_of_the_steps_that_need_it(
    cuda: tuple[dict[str, Any], dict[str, Any]],
) -> None:
    pipeline, platform = cuda
    for step in STEPS:
        resources = container(pipeline, step).get("resources", {})
        if step not in DEVICE_STEPS:
            assert resources == {}
            assert "tolerations" not in platform[f"exec-{step}"]
            continue
        accelerator = resources["accelerator"]
        assert accelerator["resourceType"] == "nvidia.com/gpu"
        assert accelerator["resourceCount"] == "1"
        assert platform[f"exec-{step}"]["tolerations"] == [
            {"effect": "NoSchedule", "key": "nvidia.com/gpu", "operator": "Exists"}
        ]
        assert {
            "mountPath": "/dev/shm",
            "volumeName": "shared-memory",
            "medium": "Memory",
            "sizeLimit": "8Gi",
        } in platform[f"exec-{step}"]["emptyDirMounts"]


def test_the_cpu_placement_asks_for_no_device(tmp_path: Path) -> None:
    pipeline, _ = yaml.safe_load_all(compile_training(tmp_path / "cpu.yaml"))
    for step in STEPS:
        assert "resources" not in container(pipeline, step)
        parameters = pipeline["root"]["dag"]["tasks"][step]["inputs"]["parameters"]
        device = parameters.get("device", {}).get("runtimeValue", {}).get("constant")
        assert device == ("cpu" if step in DEVICE_STEPS else None)


def test_a_row_of_the_user(tmp_path: Path) -> None:
    rows = tmp_path / "mine.yaml"
    rows.write_text(
        "mine:\n  framework: torch\n  device: cuda\n  image: here:5000/torch:3\n"
        "  tools_image: here:5000/tools:3\n  resource: nvidia.com/gpu\n  count: 2\n"
        "  node_selector: {pool: a100}\n"
    )
    words = ("--placement", "mine", "--placements", str(rows))
    pipeline, platform = yaml.safe_load_all(compile_training(tmp_path / "a.yaml", *words))
    executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert container(pipeline, "convert")["image"] == "here:5000/tools:3"
    assert container(pipeline, "train")["image"] == "here:5000/torch:3"
    assert container(pipeline, "train")["resources"]["accelerator"]["resourceCount"] == "2"
    assert executors["exec-train"]["nodeSelector"] == {"labels": {"pool": "a100"}}


def test_people_read_names_and_descriptions(cuda: tuple[dict[str, Any], Any]) -> None:
    pipeline = cuda[0]
    assert pipeline["pipelineInfo"]["displayName"] == "SSD training"
    assert pipeline["pipelineInfo"]["description"]
    parameters = pipeline["root"]["inputDefinitions"]["parameters"]
    assert set(parameters) == {"dataset", "recipe", "data_root", "overrides"}
    assert all(parameter["description"] for parameter in parameters.values())
    names = {step: pipeline["root"]["dag"]["tasks"][step]["taskInfo"]["name"] for step in STEPS}
    assert all(name != step for step, name in names.items())
    for step in STEPS:
        inputs = pipeline["components"][f"comp-{step}"]["inputDefinitions"]
        for entries in inputs.values():
            assert all(entry["description"] for entry in entries.values()), step


def test_what_travels_between_steps_of_equal_name_fits(cuda: tuple[dict[str, Any], Any]) -> None:
    """Each step takes its own section."""
    tasks = cuda[0]["root"]["dag"]["tasks"]
    for step in STEPS[1:]:
        config = tasks[step]["inputs"]["parameters"]["config"]["taskOutputParameter"]
        assert config == {"outputParameterKey": step, "producerTask": "resolve-config"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trainin"], "error: unknown pipeline 'trainin'; did you mean 'training'?"),
        (
            ["training", "--placement", "torch-cuba"],
            "error: unknown placement 'torch-cuba'; did you mean 'torch-cuda'?",
        ),
        (["training", "-o", "README.md/x.yaml"], "error: README.md/x.yaml: cannot write there"),
    ],
)
def test_wrong_words(words: list[str], message: str) -> None:
    command = [sys.executable, "-m", "pipelines", "compile", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1
