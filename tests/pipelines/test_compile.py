"""The compiled pipelines, as Kubeflow Pipelines would read them."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf.json_format import ParseDict
from kfp.kubernetes.kubernetes_executor_config_pb2 import KubernetesExecutorConfig
from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineSpec

from pipelines.catalogue import PIPELINES, build, write_package
from pipelines.execution.spec import read_tasks
from pipelines.placement import PLACEMENTS_PATH, load_placement
from ssd_core import __version__
from tests.pipelines.conftest import STEPS

ROOT = Path(__file__).parents[2]
PLACEMENTS = tuple(yaml.safe_load(PLACEMENTS_PATH.read_text()))
NODES = (1, 4)
DEVICE_STEPS = {"train", "evaluate", "benchmark"}
RESOURCES = {"cuda": "nvidia.com/gpu", "npu": "huawei.com/Ascend910"}

everywhere = pytest.mark.parametrize(
    ("pipeline", "placement", "nodes"), list(product(PIPELINES, PLACEMENTS, NODES))
)


@dataclass(frozen=True)
class Compiled:
    """A compiled pipeline."""

    text: str
    pipeline: dict[str, Any]
    platform: dict[str, Any]
    """Kubernetes settings by executor."""

    @property
    def tasks(self) -> dict[str, Any]:
        """The tasks by the name of their step."""
        tasks = self.pipeline["root"]["dag"]["tasks"]
        return {name.replace("-", "_"): task for name, task in tasks.items()}

    def container(self, step: str) -> dict[str, Any]:
        executors = self.pipeline["deploymentSpec"]["executors"]
        container: dict[str, Any] = executors[f"exec-{step.replace('_', '-')}"]["container"]
        return container

    def settings(self, step: str) -> dict[str, Any]:
        settings: dict[str, Any] = self.platform[f"exec-{step.replace('_', '-')}"]
        return settings

    def mounts(self, step: str) -> dict[str, Any]:
        """Mounted empty directories by path."""
        return {mount["mountPath"]: mount for mount in self.settings(step)["emptyDirMounts"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("compile")


@cache
def compiled(folder: Path, pipeline: str, placement: str, nodes: int = 1) -> Compiled:
    path = folder / f"{pipeline}-{placement}-{nodes}.yaml"
    write_package(pipeline, load_placement(placement), path, nodes=nodes)
    spec, platform = yaml.load_all(path.read_text(), yaml.CSafeLoader)
    executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    return Compiled(path.read_text(), spec, executors)


def is_on_device(step: str) -> bool:
    return step in DEVICE_STEPS


@everywhere
def test_it_is_read_back_by_the_schemas(
    folder: Path, pipeline: str, placement: str, nodes: int
) -> None:
    """Strictly: a field that the schema does not know is an error."""
    found = compiled(folder, pipeline, placement, nodes)
    spec = ParseDict(found.pipeline, PipelineSpec())
    assert spec.pipeline_info.name == pipeline
    assert set(found.platform) == set(found.pipeline["deploymentSpec"]["executors"])
    for settings in found.platform.values():
        ParseDict(settings, KubernetesExecutorConfig())


@everywhere
def test_its_steps(folder: Path, pipeline: str, placement: str, nodes: int) -> None:
    many = {"train": "train_distributed"} if nodes > 1 else {}
    expected = {many.get(step, step) for step in STEPS[pipeline]}
    assert set(compiled(folder, pipeline, placement, nodes).tasks) == expected


@everywhere
def test_images_have_the_version(folder: Path, pipeline: str, placement: str, nodes: int) -> None:
    found = compiled(folder, pipeline, placement, nodes)
    images = {step: found.container(step)["image"] for step in found.tasks}
    kinds = dict.fromkeys(found.tasks, "tools")
    kinds |= {step: placement for step in found.tasks if is_on_device(step)}
    if placement.startswith("mindspore") and "convert" in kinds:
        kinds["convert"] = "mindspore-cpu"
    if "train_distributed" in kinds:
        kinds["train_distributed"] = "launcher"
    assert images == {step: f"ssd-on-kubeflow/{kind}:{__version__}" for step, kind in kinds.items()}
    assert "latest" not in found.text
    assert "pip install" not in found.text


@everywhere
def test_the_accelerator_is_a_constant_of_the_steps_that_need_it(
    folder: Path, pipeline: str, placement: str, nodes: int
) -> None:
    found, device = compiled(folder, pipeline, placement, nodes), load_placement(placement).device
    for step in found.tasks:
        resources = found.container(step)["resources"]
        if not (is_on_device(step) and device in RESOURCES):
            assert "accelerator" not in resources
            assert not {"tolerations", "nodeSelector", "securityContext"} & set(
                found.settings(step)
            )
            continue
        accelerator = resources["accelerator"]
        assert accelerator["resourceType"] == RESOURCES[device]
        assert accelerator["resourceCount"] == "1"
        assert found.settings(step)["tolerations"] == [
            {"effect": "NoSchedule", "key": RESOURCES[device], "operator": "Exists"}
        ]


@everywhere
def test_every_step_has_the_store_by_reference_and_a_writable_tmp(
    folder: Path, pipeline: str, placement: str, nodes: int
) -> None:
    found = compiled(folder, pipeline, placement, nodes)
    for step in found.tasks:
        assert found.mounts(step)["/tmp"] == {"mountPath": "/tmp", "volumeName": "tmp"}
        secrets = found.settings(step)["secretAsEnv"]
        assert {secret["secretName"] for secret in secrets} == {"mlpipeline-minio-artifact"}
        assert [secret["keyToEnv"] for secret in secrets] == [
            [{"envVar": "AWS_ACCESS_KEY_ID", "secretKey": "accesskey"}],
            [{"envVar": "AWS_SECRET_ACCESS_KEY", "secretKey": "secretkey"}],
        ]
        names = [variable["name"] for variable in found.container(step)["env"]]
        assert names == ["AWS_ENDPOINT_URL"]


@everywhere
def test_memory_is_asked_for(folder: Path, pipeline: str, placement: str, nodes: int) -> None:
    found = compiled(folder, pipeline, placement, nodes)
    row = load_placement(placement)
    for step in found.tasks:
        resources = found.container(step)["resources"]
        asked = row.resources if is_on_device(step) else row.tools_resources
        assert resources["resourceCpuRequest"] == asked.cpu_request
        assert resources["resourceMemoryRequest"] == asked.memory_request
        assert resources.get("resourceMemoryLimit") == asked.memory_limit
        if is_on_device(step):
            shared = found.mounts(step)["/dev/shm"]
            assert (shared["medium"], shared["sizeLimit"]) == ("Memory", row.shared_memory)


@everywhere
def test_no_step_is_taken_from_the_cache_of_kubeflow(
    folder: Path, pipeline: str, placement: str, nodes: int
) -> None:
    tasks = compiled(folder, pipeline, placement, nodes).tasks
    assert [task["cachingOptions"] for task in tasks.values()] == [{}] * len(tasks)


@pytest.mark.parametrize("placement", ["torch-npu", "mindspore-npu"])
def test_ascend_steps_run_as_the_group_of_the_driver(folder: Path, placement: str) -> None:
    found = compiled(folder, "training", placement)
    for step in found.tasks:
        context = found.settings(step).get("securityContext")
        expected = {"runAsUser": "1000", "runAsGroup": "1000"} if is_on_device(step) else None
        assert context == expected
    labels = found.settings("train")["nodeSelector"]["labels"]
    assert labels == {"accelerator": "huawei-Ascend910"}


def test_the_catalogue_says_what_the_pipelines_take() -> None:
    for name, entry in PIPELINES.items():
        inputs = build(name, load_placement("torch-cpu")).pipeline_spec.root.input_definitions
        optional = {key for key, value in inputs.parameters.items() if value.is_optional}
        assert optional == set(entry.optional)
        assert set(inputs.parameters) - optional == set(entry.required)
        assert all(value.description for value in inputs.parameters.values())


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_steps_run_in_order(pipeline: str) -> None:
    tasks = read_tasks(build(pipeline, load_placement("torch-cpu")))
    assert tuple(task.name for task in tasks) == STEPS[pipeline]


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_nothing_runs_beside_the_benchmark(folder: Path, pipeline: str) -> None:
    tasks = compiled(folder, pipeline, "torch-cuda").tasks
    if "benchmark" not in tasks:
        return

    def ancestors(step: str) -> Iterator[str]:
        for before in tasks[step].get("dependentTasks", ()):
            yield before.replace("-", "_")
            yield from ancestors(before.replace("-", "_"))

    after = {step for step in tasks if "benchmark" in ancestors(step)}
    assert after | set(ancestors("benchmark")) | {"benchmark"} == set(tasks)


@pytest.mark.parametrize("nodes", NODES)
@pytest.mark.parametrize("pipeline", PIPELINES)
def test_people_read_names_and_descriptions(folder: Path, pipeline: str, nodes: int) -> None:
    found = compiled(folder, pipeline, "torch-cuda", nodes)
    info = found.pipeline["pipelineInfo"]
    assert info["displayName"] == f"SSD {pipeline}"
    assert info["description"]
    for step, task in found.tasks.items():
        name = step.replace("_", "-")
        assert task["taskInfo"]["name"] not in {name, step}
        component = found.pipeline["components"][f"comp-{name}"]
        for definitions in (component["inputDefinitions"], component["outputDefinitions"]):
            for ports in definitions.values():
                assert all(port["description"] for port in ports.values()), step


def test_the_run_is_named_by_the_cluster(folder: Path) -> None:
    tasks = compiled(folder, "training", "torch-cuda").tasks
    runs = {
        task["inputs"]["parameters"]["run"]["runtimeValue"]["constant"]
        for task in tasks.values()
        if "run" in task["inputs"]["parameters"]
    }
    assert runs == {"{{$.pipeline_job_uuid}}"}


def test_each_step_takes_its_own_section(folder: Path) -> None:
    for step, task in compiled(folder, "training", "torch-cuda").tasks.items():
        if step != "resolve_config":
            config = task["inputs"]["parameters"]["config"]["taskOutputParameter"]
            assert config == {"outputParameterKey": step, "producerTask": "resolve-config"}


def test_a_job_over_nodes_gets_all_of_the_placement(folder: Path) -> None:
    found = compiled(folder, "training", "torch-npu", 4)
    parameters = found.tasks["train_distributed"]["inputs"]["parameters"]
    assert parameters["nodes"]["runtimeValue"]["constant"] == 4
    row = parameters["placement"]["runtimeValue"]["constant"]
    assert (row["resource"], row["count"], row["user"]) == ("huawei.com/Ascend910", 1, 1000)
    assert row["job"]["kind"] == "AscendJob"
    assert row["store_secret"]["name"] == "mlpipeline-minio-artifact"
    config = parameters["config"]["taskOutputParameter"]
    assert config == {"outputParameterKey": "train", "producerTask": "resolve-config"}


def compile_by_command(path: Path, *words: str) -> bytes:
    command = [sys.executable, "-m", "pipelines", "compile", *words, "-o", str(path)]
    canary = "canary-of-a-secret"
    environment = os.environ | {"AWS_ACCESS_KEY_ID": canary, "AWS_SECRET_ACCESS_KEY": canary}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert canary not in path.read_text() + done.stdout + done.stderr
    assert done.stdout == f"{path}\n"
    notes = done.stderr.splitlines()
    assert notes == (
        [f"note: the pipeline '{words[0]}' trains nothing: one node is enough"]
        * ("4" in words and words[0] != "training")
    )
    return path.read_bytes()


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_two_processes_write_the_same_bytes(folder: Path, tmp_path: Path, pipeline: str) -> None:
    words = (pipeline, "--placement", "torch-npu", "--nodes", "4")
    one, two = (compile_by_command(tmp_path / name, *words) for name in ("a", "b"))
    assert one == two == compiled(folder, pipeline, "torch-npu", 4).text.encode()


def test_a_row_of_the_user(tmp_path: Path) -> None:
    rows = tmp_path / "mine.yaml"
    rows.write_text(
        "mine:\n  framework: torch\n  device: cuda\n  image: here:5000/torch:3\n"
        "  tools_image: here:5000/tools:3\n  resource: nvidia.com/mig-1g.5gb\n  count: 2\n"
        "  node_selector: {pool: a100}\n  group: 44\n"
        "  resources: {cpu_limit: 500m, memory_limit: 3G}\n"
        "  store_secret: {name: mine, keys: {AWS_ACCESS_KEY_ID: a, AWS_SECRET_ACCESS_KEY: b}}\n"
        "  environment: {AWS_ENDPOINT_URL: 'https://s3.example.org', AWS_REGION: eu-1}\n"
    )
    words = ("training", "--placement", "mine", "--placements", str(rows))
    spec, platform = yaml.safe_load_all(compile_by_command(tmp_path / "a.yaml", *words))
    executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    found = Compiled("", spec, executors)
    assert found.container("convert")["image"] == "here:5000/tools:3"
    train = found.container("train")
    assert train["image"] == "here:5000/torch:3"
    assert train["resources"]["accelerator"]["resourceType"] == "nvidia.com/mig-1g.5gb"
    assert train["resources"]["accelerator"]["resourceCount"] == "2"
    num_devices = found.tasks["train"]["inputs"]["parameters"]["num_devices"]
    assert num_devices["runtimeValue"]["constant"] == 2
    for step in ("evaluate", "benchmark"):  # which use one
        assert found.container(step)["resources"]["accelerator"]["resourceCount"] == "1"
    assert train["resources"]["resourceCpuLimit"] == "500m"
    assert train["resources"]["resourceMemoryLimit"] == "3G"
    assert {entry["name"]: entry["value"] for entry in train["env"]} == {
        "AWS_ENDPOINT_URL": "https://s3.example.org",
        "AWS_REGION": "eu-1",
    }
    settings = found.settings("train")
    assert settings["nodeSelector"] == {"labels": {"pool": "a100"}}
    assert settings["securityContext"] == {"runAsGroup": "44"}
    assert {secret["secretName"] for secret in settings["secretAsEnv"]} == {"mine"}
    assert "/dev/shm" not in found.mounts("train")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trainin"], "error: unknown pipeline 'trainin'; did you mean 'training'?"),
        (
            ["training", "--placement", "torch-cuba"],
            "error: unknown placement 'torch-cuba'; did you mean 'torch-cuda'?",
        ),
        (
            ["training", "--placement", "bare", "--nodes", "2"],
            "error: the placement cannot train on several nodes: it has no `job: {kind: ...}`",
        ),
        (
            ["training", "--nodes", "2", "--placement", "bare", "--placements", "nowhere.yaml"],
            "error: nowhere.yaml: ",
        ),
        (["training", "-o", "README.md/x.yaml"], "error: README.md: cannot write there"),
    ],
)
def test_wrong_words(words: list[str], message: str, tmp_path: Path) -> None:
    rows = tmp_path / "mine.yaml"
    rows.write_text("bare: {framework: torch, device: cpu, image: 'x:1'}\n")
    command = [sys.executable, "-m", "pipelines", "compile", "--placements", str(rows), *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1
