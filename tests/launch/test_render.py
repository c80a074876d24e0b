"""What is asked of the cluster, held to the published schemas."""

import json
from typing import Any

import kubernetes_validate
import pytest
from jsonschema import Draft202012Validator

from ssd_core.errors import UsageError
from ssd_core.launch.command import node_command, train_command
from ssd_core.launch.job import DIGEST, LAUNCHER, digest_manifest, job_name, signed
from ssd_core.launch.kinds import KINDS
from ssd_core.launch.placement import Placement
from tests.launch.api_server import ASCENDJOB_CRD
from tests.launch.conftest import OWNERS, PLACEMENTS, make_job
from tests.launch.crd_schemas import closed_schema, read_schema, trainer_schema

KUBERNETES = "1.34"


def problems(kind: str, manifest: Any) -> list[str]:
    schema = read_schema(ASCENDJOB_CRD) if kind == "AscendJob" else trainer_schema("trainjobs")
    errors = Draft202012Validator(closed_schema(schema)).iter_errors(manifest)
    return [f"{'.'.join(map(str, error.path))}: {error.message}" for error in errors]


@pytest.mark.parametrize(
    ("kind", "framework"),
    [("TrainJob", "torch"), ("AscendJob", "torch"), ("AscendJob", "mindspore")],
)
def test_a_manifest_fits_the_schema(kind: str, framework: str) -> None:
    manifest = signed(KINDS[kind].render(make_job(kind, framework=framework)), "me", OWNERS)
    assert problems(kind, manifest) == []
    assert json.loads(json.dumps(manifest)) == manifest


@pytest.mark.parametrize("kind", ["TrainJob", "AscendJob"])
def test_the_schema_would_refuse_an_unknown_field(kind: str) -> None:
    manifest = KINDS[kind].render(make_job(kind))
    manifest["spec"]["numberOfNodes"] = 2
    assert any("numberOfNodes" in problem for problem in problems(kind, manifest))


def test_a_train_job_says_how_many_processes_a_node_has() -> None:
    spec = KINDS["TrainJob"].render(make_job(nodes=4))["spec"]
    trainer = spec["trainer"]
    assert (trainer["numNodes"], trainer["numProcPerNode"]) == (4, 2)
    assert trainer["resourcesPerNode"]["limits"] == {"memory": "32Gi", "nvidia.com/gpu": "2"}
    assert trainer["resourcesPerNode"]["requests"] == {"cpu": "4", "nvidia.com/gpu": "2"}
    assert spec["runtimeRef"]["kind"] == "TrainingRuntime"
    assert spec["activeDeadlineSeconds"] == 86400


def test_without_accelerators_a_node_has_one_process() -> None:
    row = PLACEMENTS["TrainJob"] | {"resource": None, "count": 8}
    spec = KINDS["TrainJob"].render(make_job(placement=Placement.model_validate(row)))["spec"]
    assert spec["trainer"]["numProcPerNode"] == 1
    assert "nvidia.com/gpu" not in json.dumps(spec["trainer"]["resourcesPerNode"])


def test_a_train_job_carries_the_placement_to_its_pods() -> None:
    (patch,) = KINDS["TrainJob"].render(make_job())["spec"]["runtimePatches"]
    (group,) = patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
    pod = group["template"]["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == {"pool": "gpu"}
    assert pod["tolerations"][0]["key"] == "nvidia.com/gpu"
    assert pod["securityContext"] == {"runAsUser": 12345}
    assert pod["volumes"][1]["emptyDir"] == {"medium": "Memory", "sizeLimit": "8Gi"}
    mounts = pod["containers"][0]["volumeMounts"]
    assert [mount["mountPath"] for mount in mounts] == ["/tmp", "/dev/shm"]


@pytest.mark.parametrize("kind", ["TrainJob", "AscendJob"])
def test_secrets_are_references(kind: str) -> None:
    text = json.dumps(KINDS[kind].render(make_job(kind)))
    reference = {"secretKeyRef": {"name": "mlpipeline-minio-artifact", "key": "secretkey"}}
    assert json.dumps({"name": "AWS_SECRET_ACCESS_KEY", "valueFrom": reference}) in text


@pytest.mark.parametrize(
    ("framework", "word", "leader"),
    [("torch", "pytorch", "Master"), ("mindspore", "mindspore", "Scheduler")],
)
def test_an_ascend_job_has_a_leader_and_workers(framework: str, word: str, leader: str) -> None:
    manifest = KINDS["AscendJob"].render(make_job("AscendJob", framework=framework, nodes=4))
    replicas = manifest["spec"]["replicaSpecs"]
    assert manifest["metadata"]["labels"]["framework"] == word
    assert {name: replica["replicas"] for name, replica in replicas.items()} == {
        leader: 1,
        "Worker": 3,
    }
    assert manifest["spec"]["runPolicy"]["schedulingPolicy"] == {
        "minAvailable": 4,
        "queue": "training",
    }
    for replica in replicas.values():
        (container,) = replica["template"]["spec"]["containers"]
        assert container["name"] == "ascend"
        assert container["ports"] == [{"name": "ascendjob-port", "containerPort": 2222}]
        assert container["resources"]["limits"] == {"huawei.com/Ascend910": "8"}


@pytest.mark.parametrize("framework", ["torch", "mindspore"])
def test_the_pods_of_an_ascend_job_are_pods(framework: str) -> None:
    """Its schema takes any pod; the schema of Kubernetes does not."""
    manifest = KINDS["AscendJob"].render(make_job("AscendJob", framework=framework))
    for replica in manifest["spec"]["replicaSpecs"].values():
        pod = {"apiVersion": "v1", "kind": "Pod"} | replica["template"]
        kubernetes_validate.validate(pod, KUBERNETES, strict=True)


def test_an_ascend_job_shows_devices_only_with_volcano() -> None:
    job = make_job("AscendJob")
    with_volcano = json.dumps(KINDS["AscendJob"].render(job))
    plain = job.spec.model_copy(update={"scheduler": None})
    without = json.dumps(KINDS["AscendJob"].render(make_job("AscendJob", spec=plain)))
    assert "metadata.annotations['huawei.com/Ascend910']" in with_volcano
    assert "ASCEND_VISIBLE_DEVICES" not in without


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        ("TrainJob", {"job": {"kind": "TrainJob"}}, "placement: a TrainJob needs job.runtime"),
        ("AscendJob", {"resource": None}, "placement: an AscendJob needs a resource"),
    ],
)
def test_a_placement_that_cannot_be_rendered(
    kind: str, change: dict[str, Any], message: str
) -> None:
    placement = Placement.model_validate(PLACEMENTS[kind] | change)
    with pytest.raises(UsageError, match=message):
        KINDS[kind].render(make_job(kind, placement=placement, spec=placement.job))


def test_the_command_repeats_the_configuration() -> None:
    base = {"steps": 100, "model": {"name": "vgg16", "size": 300}, "seed": 1}
    config = {"steps": 12, "model": {"name": "vgg16", "size": 512}, "seed": 1}
    words = train_command(config, base, data="s3://b/d", recipe="demo")
    assert words == (
        *("train", "--data", "s3://b/d", "--recipe", "demo"),
        *("--set", "train.steps=12", "--set", "train.model.size=512"),
    )


@pytest.mark.parametrize(
    ("kind", "framework", "words"),
    [
        ("TrainJob", "torch", "ssd --nnodes 4 --num-devices 8 --node-rank $(PET_NODE_RANK)"),
        ("TrainJob", "mindspore", "msrun --worker_num=32 --node_rank=$(PET_NODE_RANK) python"),
        ("AscendJob", "torch", "ssd --nnodes 4 --num-devices 8 --node-rank $(RANK)"),
        ("AscendJob", "mindspore", "msrun --worker_num=32 --node_rank=$(MS_NODE_RANK) python"),
    ],
)
def test_a_node_takes_its_number_from_the_environment(
    kind: Any, framework: str, words: str
) -> None:
    command = node_command(["train", "--out", "s3://b/o"], kind, framework, nodes=4, processes=8)
    assert {*words.split(), "train", "s3://b/o"} < set(command)


def test_an_unknown_framework_is_named() -> None:
    with pytest.raises(UsageError, match="unknown framework 'torhc'; did you mean 'torch'"):
        node_command(["train"], "TrainJob", "torhc", nodes=4, processes=8)


@pytest.mark.parametrize(
    "run",
    [
        "3f0f6a4e-8b3a-4f53-9a53-3f0f6a4e8b3a",
        "Run of Monday!",
        "x" * 100,
        "",
        "9",
        "ends-with-",
    ],
)
def test_a_name_is_a_dns_label_and_leaves_room_for_the_pods(run: str) -> None:
    name = job_name(run, "train")
    assert name == job_name(run, "train")
    assert len(f"{name}-node-0-0-abcde") <= 63
    assert name[0].isalpha()
    assert name[-1].isalnum()
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")


def test_names_of_different_runs_differ() -> None:
    names = {job_name(run, "train") for run in ("a b", "a-b", "A-b", "a" * 60, "a" * 61)}
    assert len(names) == 5


def test_a_digest_does_not_depend_on_who_asks() -> None:
    manifest = KINDS["TrainJob"].render(make_job(name="same"))
    mine, yours = signed(manifest, "me", OWNERS), signed(manifest, "you", [])
    assert mine["metadata"]["annotations"][DIGEST] == yours["metadata"]["annotations"][DIGEST]
    assert mine["metadata"]["annotations"][LAUNCHER] == "me"
    other = KINDS["TrainJob"].render(make_job(name="same", nodes=3))
    assert digest_manifest(other) != digest_manifest(manifest)
