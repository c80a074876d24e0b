"""The compiled pipelines, as Kubeflow Pipelines reads them."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml
from google.protobuf.json_format import ParseDict
from kfp.kubernetes.kubernetes_executor_config_pb2 import KubernetesExecutorConfig
from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineSpec

from pipelines.catalogue import PIPELINES, build, write_package
from pipelines.execution.spec import read_tasks
from pipelines.placement import PLACEMENTS_PATH, Placement, load_placement
from ssd_core import __version__
from ssd_core.launch.job import STEP_LABELS
from tests.pipelines.conftest import STEPS, Command

ROOT = Path(__file__).parents[2]
PLACEMENTS = tuple(yaml.safe_load(PLACEMENTS_PATH.read_text()))
NODES = (1, 4)
DEVICE_STEPS = {"train", "evaluate", "benchmark"}
RESOURCES = {"cuda": "nvidia.com/gpu", "npu": "huawei.com/Ascend910"}
SECRET = "mlpipeline-minio-artifact"
SECRET_KEYS = {"AWS_ACCESS_KEY_ID": "accesskey", "AWS_SECRET_ACCESS_KEY": "secretkey"}
KUBEFLOW_STORE = {"name": "AWS_ENDPOINT_URL", "value": "http://seaweedfs.kubeflow:9000"}


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


def read_compiled(content: bytes) -> Compiled:
    spec, platform = yaml.load_all(content, yaml.CSafeLoader)
    executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    return Compiled(content.decode(), spec, executors)


@cache
def compiled(pipeline: str, placement: str, nodes: int = 1) -> Compiled:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "pipeline.yaml"
        write_package(pipeline, load_placement(placement), path, nodes=nodes)
        return read_compiled(path.read_bytes())


@pytest.fixture(
    params=list(product(PIPELINES, PLACEMENTS, NODES)), ids=lambda case: "-".join(map(str, case))
)
def case(request: pytest.FixtureRequest) -> tuple[str, str, int]:
    """Each pipeline with each placement, on one node and on several."""
    found: tuple[str, str, int] = request.param
    return found


def test_it_is_read_back_by_the_schemas(case: tuple[str, str, int]) -> None:
    """Strictly: a field that the schema does not contain is an error."""
    found = compiled(*case)
    spec = ParseDict(found.pipeline, PipelineSpec())
    assert spec.pipeline_info.name == case[0]
    assert set(found.platform) == set(found.pipeline["deploymentSpec"]["executors"])
    for settings in found.platform.values():
        ParseDict(settings, KubernetesExecutorConfig())
    assert "latest" not in found.text
    assert "pip install" not in found.text


def expected_image(step: str, placement: str) -> str:
    if step == "convert" and placement.startswith("mindspore"):
        kind = "mindspore-cpu"
    elif step == "train_distributed":
        kind = "launcher"
    else:
        kind = placement if step in {*DEVICE_STEPS, "export"} else "tools"
    return f"ssd-on-kubeflow/{kind}:{__version__}"


def expected_resources(step: str, row: Placement) -> dict[str, Any]:
    """Return the resources of a container but for those in the units of earlier versions."""
    pod = row.resources if step in DEVICE_STEPS else row.tools_resources
    found: dict[str, Any] = {
        "resourceCpuRequest": pod.cpu_request,
        "resourceMemoryRequest": pod.memory_request,
        "resourceMemoryLimit": pod.memory_limit,
    }
    if step in DEVICE_STEPS and row.device in RESOURCES:
        name = RESOURCES[row.device]
        found["accelerator"] = {"count": "1", "resourceCount": "1"}
        found["accelerator"] |= {"type": name, "resourceType": name}
    return {name: value for name, value in found.items() if value is not None}


def expected_settings(step: str, row: Placement) -> dict[str, Any]:
    found: dict[str, Any] = {
        "podMetadata": {"labels": STEP_LABELS},
        "securityContext": {"runAsNonRoot": True},
        "emptyDirMounts": [{"mountPath": "/tmp", "volumeName": "tmp"}],
        "secretAsEnv": [
            {
                "keyToEnv": [{"envVar": variable, "secretKey": key}],
                "optional": False,
                "secretName": SECRET,
                "secretNameParameter": {"runtimeValue": {"constant": SECRET}},
            }
            for variable, key in SECRET_KEYS.items()
        ],
    }
    if step not in DEVICE_STEPS:
        return found
    shared = {"mountPath": "/dev/shm", "volumeName": "shared-memory"}
    found["emptyDirMounts"] += [{**shared, "medium": "Memory", "sizeLimit": row.shared_memory}]
    if row.device in RESOURCES:
        toleration = {"effect": "NoSchedule", "operator": "Exists", "key": RESOURCES[row.device]}
        found["tolerations"] = [toleration]
    if row.device == "npu":  # as the group of the driver
        found["securityContext"] |= {"runAsUser": "1000", "runAsGroup": "1000"}
        found["nodeSelector"] = {"labels": {"accelerator": "huawei-Ascend910"}}
    return found


def test_every_step_gets_what_it_needs_and_nothing_else(case: tuple[str, str, int]) -> None:
    pipeline, placement, nodes = case
    found, row = compiled(*case), load_placement(placement)
    many = {"train": "train_distributed"} if nodes > 1 else {}
    assert set(found.tasks) == {many.get(step, step) for step in STEPS[pipeline]}
    for step, task in found.tasks.items():
        assert task["cachingOptions"] == {}, step
        container = found.container(step)
        assert set(container) == {"image", "command", "args", "env", "resources"}
        assert container["image"] == expected_image(step, placement)
        assert container["env"] == [KUBEFLOW_STORE]
        earlier = {"cpuRequest", "memoryRequest", "memoryLimit"}
        resources = {k: v for k, v in container["resources"].items() if k not in earlier}
        assert resources == expected_resources(step, row), step
        assert found.settings(step) == expected_settings(step, row), step


def test_steps_under_volcano_take_its_devices(tmp_path: Path) -> None:
    placement = load_placement("torch-npu").model_copy(update={"step_scheduler": "volcano"})
    write_package("benchmark", placement, tmp_path / "pipeline.yaml")
    found = read_compiled((tmp_path / "pipeline.yaml").read_bytes())
    settings = found.settings("benchmark")
    path = "metadata.annotations['huawei.com/Ascend910']"
    assert settings["fieldPathAsEnv"] == [{"name": "ASCEND_VISIBLE_DEVICES", "fieldPath": path}]
    labels = settings["podMetadata"]["labels"]
    assert labels == STEP_LABELS | {"ring-controller.atlas": "ascend-910b"}
    assert "fieldPathAsEnv" not in found.settings("fetch_model")


@pytest.mark.parametrize("pipeline", ["training", "evaluation"])
def test_shares_of_a_data_set_are_converted_in_parallel(pipeline: str, tmp_path: Path) -> None:
    placement = load_placement("mindspore-cpu").model_copy(update={"convert_pods": 3})
    write_package(pipeline, placement, tmp_path / "pipeline.yaml")
    found = read_compiled((tmp_path / "pipeline.yaml").read_bytes())
    (loop,) = (name for name, task in found.tasks.items() if "parameterIterator" in task)
    iterator = found.tasks[loop]["parameterIterator"]
    assert json.loads(iterator["items"]["raw"]) == ["1/3", "2/3", "3/3"]
    assert loop.replace("_", "-") in found.tasks["convert"]["dependentTasks"]
    body = found.pipeline["components"][found.tasks[loop]["componentRef"]["name"]]
    share = body["dag"]["tasks"]["convert-share"]["inputs"]["parameters"]["share"]
    assert share["componentInputParameter"] == iterator["itemInput"]
    assert found.container("convert_share")["image"] == expected_image("convert", "mindspore-cpu")
    assert found.settings("convert_share") == found.settings("convert")


def test_the_catalogue_has_the_parameters_of_the_pipelines() -> None:
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
def test_nothing_runs_beside_the_benchmark(pipeline: str) -> None:
    tasks = compiled(pipeline, "torch-cuda").tasks
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
def test_names_and_descriptions_are_for_people(pipeline: str, nodes: int) -> None:
    found = compiled(pipeline, "torch-cuda", nodes)
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


def test_run_is_named_by_the_cluster() -> None:
    tasks = compiled("training", "torch-cuda").tasks
    runs = {
        task["inputs"]["parameters"]["run"]["runtimeValue"]["constant"]
        for task in tasks.values()
        if "run" in task["inputs"]["parameters"]
    }
    assert runs == {"{{$.pipeline_job_uuid}}"}


@pytest.mark.parametrize("nodes", NODES)
def test_every_step_takes_the_resolved_recipe(nodes: int) -> None:
    for step, task in compiled("training", "torch-cuda", nodes).tasks.items():
        if step not in {"resolve_config", "export"}:  # a model has its recipe
            source = task["inputs"]["parameters"]["recipe"]["taskOutputParameter"]
            assert source == {"outputParameterKey": "recipe", "producerTask": "resolve-config"}


def test_job_on_several_nodes_gets_the_whole_placement() -> None:
    found = compiled("training", "torch-npu", 4)
    parameters = found.tasks["train_distributed"]["inputs"]["parameters"]
    assert parameters["nodes"]["runtimeValue"]["constant"] == 4
    row = parameters["placement"]["runtimeValue"]["constant"]
    assert (row["resource"], row["count"], row["user"]) == ("huawei.com/Ascend910", 1, 1000)
    assert row["job"]["kind"] == "AscendJob"
    assert row["store_secret"]["name"] == "mlpipeline-minio-artifact"


def compile_by_command(path: Path, *words: str) -> bytes:
    command = [sys.executable, "-m", "pipelines", "compile", *words, "-o", str(path)]
    canary = "canary-of-a-secret"
    environment = os.environ | {"AWS_ACCESS_KEY_ID": canary, "AWS_SECRET_ACCESS_KEY": canary}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert canary not in path.read_text() + done.stdout + done.stderr
    assert done.stdout == f"{path}\n"
    notes = [
        ("mindspore-npu" in words or "torch-npu" in words, "the code for Ascend NPUs has not run"),
        ("4" in words and words[0] != "training", f"pipeline '{words[0]}' does not train"),
    ]
    expected = [note for holds, note in notes if holds]
    for line, note in zip(done.stderr.splitlines(), expected, strict=True):
        assert note in line
    return path.read_bytes()


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_two_processes_write_the_same_bytes(tmp_path: Path, pipeline: str) -> None:
    words = (pipeline, "--placement", "torch-npu", "--nodes", "4")
    written = compile_by_command(tmp_path / "pipeline.yaml", *words)
    assert written == compiled(pipeline, "torch-npu", 4).text.encode()


def test_row_of_the_user(pipelines: Command) -> None:
    Path("mine.yaml").write_text(
        "mine:\n  framework: torch\n  device: cuda\n  image: here:5000/torch:3\n"
        "  tools_image: here:5000/tools:3\n  resource: nvidia.com/mig-1g.5gb\n  count: 2\n"
        "  node_selector: {pool: a100}\n  group: 44\n"
        "  resources: {cpu_limit: 500m, memory_limit: 3G}\n"
        "  store_secret: {name: mine, keys: {AWS_ACCESS_KEY_ID: a, AWS_SECRET_ACCESS_KEY: b}}\n"
        "  environment: {AWS_ENDPOINT_URL: 'https://s3.example.org', AWS_REGION: eu-1}\n"
    )
    pipelines.lines("compile", "training", "--placement=mine", "--placements=mine.yaml")
    found = read_compiled(Path("training.yaml").read_bytes())
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
    assert settings["securityContext"] == {"runAsGroup": "44", "runAsNonRoot": True}
    assert {secret["secretName"] for secret in settings["secretAsEnv"]} == {"mine"}
    assert [mount["mountPath"] for mount in settings["emptyDirMounts"]] == ["/tmp"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trainin"], "unknown pipeline 'trainin'; did you mean 'training'?"),
        (
            ["training", "--placement", "torch-cuba"],
            "unknown placement 'torch-cuba'; did you mean 'torch-cuda'?",
        ),
        (
            ["training", "--placement", "bare", "--nodes", "2"],
            "the placement cannot train on several nodes: it has no `job: {kind: ...}`",
        ),
        (["training", "--placements", "nowhere.yaml"], "nowhere.yaml: "),
        (["training", "-o", "mine.yaml/x.yaml"], "mine.yaml: cannot write there"),
    ],
)
def test_wrong_options(pipelines: Command, words: list[str], message: str) -> None:
    Path("mine.yaml").write_text("bare: {framework: torch, device: cpu, image: 'x:1'}\n")
    found = pipelines.fails(2, "compile", "--placements", "mine.yaml", *words)
    assert found.startswith(message)
