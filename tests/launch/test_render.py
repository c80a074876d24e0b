"""The manifests of both kinds of job, validated against the published schemas."""

import json
import re

import kubernetes_validate
import pytest

from ssd_core.errors import UsageError
from ssd_core.launch.job import DIGEST, LAUNCHER, job_name, signed
from ssd_core.launch.manifests import node_command, render
from tests.launch.api_server import ASCENDJOB_CRD
from tests.launch.conftest import OWNERS, make_request
from tests.launch.crd_schemas import read_schema, schema_problems, trainer_schema

KUBERNETES = "1.34"
JOBS = [("TrainJob", "torch"), ("AscendJob", "torch"), ("AscendJob", "mindspore")]


def problems(kind, manifest):
    schema = read_schema(ASCENDJOB_CRD) if kind == "AscendJob" else trainer_schema("trainjobs")
    return schema_problems(schema, manifest)


@pytest.mark.parametrize(("kind", "framework"), JOBS)
def test_a_manifest_fits_the_schema(kind, framework):
    manifest = signed(render(make_request(kind, framework=framework)), "me", OWNERS)
    assert problems(kind, manifest) == []
    assert json.loads(json.dumps(manifest)) == manifest
    # The schema of an AscendJob accepts any pod; the schema of Kubernetes does not.
    for replica in manifest["spec"].get("replicaSpecs", {}).values():
        pod = {"apiVersion": "v1", "kind": "Pod"} | replica["template"]
        kubernetes_validate.validate(pod, KUBERNETES, strict=True)
    reference = {"secretKeyRef": {"name": "mlpipeline-minio-artifact", "key": "secretkey"}}
    secret = json.dumps({"name": "AWS_SECRET_ACCESS_KEY", "valueFrom": reference})
    assert secret in json.dumps(manifest)
    manifest["spec"]["numberOfNodes"] = 2
    assert any("numberOfNodes" in problem for problem in problems(kind, manifest))


def test_a_train_job_sets_the_processes_per_node():
    spec = render(make_request(nodes=4))["spec"]
    trainer = spec["trainer"]
    assert (trainer["numNodes"], trainer["numProcPerNode"]) == (4, 2)
    assert trainer["resourcesPerNode"]["limits"] == {"memory": "32Gi", "nvidia.com/gpu": "2"}
    assert trainer["resourcesPerNode"]["requests"] == {"cpu": "4", "nvidia.com/gpu": "2"}
    assert spec["runtimeRef"]["kind"] == "TrainingRuntime"
    assert spec["activeDeadlineSeconds"] == 86400
    # Without accelerators a node has one process.
    trainer = render(make_request(change={"resource": None, "count": 8}))["spec"]["trainer"]
    assert trainer["numProcPerNode"] == 1
    assert "nvidia.com/gpu" not in json.dumps(trainer["resourcesPerNode"])


def test_a_train_job_applies_the_placement_to_its_pods():
    (patch,) = render(make_request())["spec"]["runtimePatches"]
    (group,) = patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
    pod = group["template"]["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == {"pool": "gpu"}
    toleration = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
    assert pod["tolerations"] == [toleration]
    assert pod["securityContext"] == {
        "runAsUser": 12345,
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert pod["volumes"][1]["emptyDir"] == {"medium": "Memory", "sizeLimit": "8Gi"}
    mounts = pod["containers"][0]["volumeMounts"]
    assert [mount["mountPath"] for mount in mounts] == ["/tmp", "/dev/shm"]


@pytest.mark.parametrize(
    ("framework", "label", "leader"),
    [("torch", "pytorch", "Master"), ("mindspore", "mindspore", "Scheduler")],
)
def test_an_ascend_job_has_a_leader_and_workers(framework, label, leader):
    manifest = render(make_request("AscendJob", framework=framework, nodes=4))
    replicas = manifest["spec"]["replicaSpecs"]
    assert manifest["metadata"]["labels"]["framework"] == label
    counts = {name: replica["replicas"] for name, replica in replicas.items()}
    assert counts == {leader: 1, "Worker": 3}
    policy = manifest["spec"]["runPolicy"]["schedulingPolicy"]
    assert policy == {"minAvailable": 4, "queue": "training"}
    for replica in replicas.values():
        (container,) = replica["template"]["spec"]["containers"]
        assert container["name"] == "ascend"
        assert container["ports"] == [{"name": "ascendjob-port", "containerPort": 2222}]
        assert container["resources"]["limits"] == {"huawei.com/Ascend910": "8"}


def test_an_ascend_job_names_its_devices_only_with_volcano():
    volcano = json.dumps(render(make_request("AscendJob")))
    plain = json.dumps(render(make_request("AscendJob", {"job": {"kind": "AscendJob"}})))
    assert "metadata.annotations['huawei.com/Ascend910']" in volcano
    assert "ASCEND_VISIBLE_DEVICES" not in plain


def test_a_job_has_further_resources_and_capabilities():
    extra = {"resources": {"rdma/hca": 1}, "capabilities": ["IPC_LOCK"]}
    train = render(make_request(change={"job": {"kind": "TrainJob", "runtime": "r", **extra}}))
    ascend = render(make_request("AscendJob", {"job": {"kind": "AscendJob", **extra}}))
    assert problems("TrainJob", train) == problems("AscendJob", ascend) == []
    per_node = train["spec"]["trainer"]["resourcesPerNode"]
    (patch,) = train["spec"]["runtimePatches"]
    (group,) = patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
    (node,) = group["template"]["spec"]["template"]["spec"]["containers"]
    (leader,) = ascend["spec"]["replicaSpecs"]["Master"]["template"]["spec"]["containers"]
    for resources in (per_node, leader["resources"]):
        assert resources["limits"]["rdma/hca"] == resources["requests"]["rdma/hca"] == "1"
    for container in (node, leader):
        security = container["securityContext"]
        assert security["capabilities"] == {"drop": ["ALL"], "add": ["IPC_LOCK"]}
        assert security["allowPrivilegeEscalation"] is False


def test_the_pods_of_an_ascend_job_have_a_runtime_class_and_the_driver():
    driver = "/usr/local/Ascend/driver"
    job = {"kind": "AscendJob", "runtime_class": "ascend", "node_directories": [driver]}
    manifest = render(make_request("AscendJob", {"job": job}))
    for replica in manifest["spec"]["replicaSpecs"].values():
        pod = replica["template"]["spec"]
        kubernetes_validate.validate(
            {"apiVersion": "v1", "kind": "Pod"} | replica["template"], KUBERNETES, strict=True
        )
        assert pod["runtimeClassName"] == "ascend"
        volume = {"name": "node-0", "hostPath": {"path": driver, "type": "Directory"}}
        assert pod["volumes"][-1] == volume
        (container,) = pod["containers"]
        mount = {"name": "node-0", "mountPath": driver, "readOnly": True}
        assert container["volumeMounts"][-1] == mount


@pytest.mark.parametrize("setting", ["scheduler", "queue", "runtime_class", "node_directories"])
def test_a_train_job_refuses_what_its_runtime_has(setting):
    value = ["/driver"] if setting == "node_directories" else "x"
    with pytest.raises(ValueError, match=f"{setting} is for an AscendJob; a TrainJob has it"):
        make_request(change={"job": {"kind": "TrainJob", "runtime": "r", setting: value}})


@pytest.mark.parametrize(
    ("kind", "framework", "change", "message"),
    [
        (
            "TrainJob",
            "torch",
            {"job": {"kind": "TrainJob"}},
            "placement: a TrainJob needs job.runtime",
        ),
        ("AscendJob", "torch", {"resource": None}, "placement: an AscendJob needs a resource"),
        ("TrainJob", "torhc", {}, "unknown framework 'torhc'; did you mean 'torch'"),
        ("AscendJob", "torhc", {}, "unknown framework 'torhc'; did you mean 'torch'"),
    ],
)
def test_an_incomplete_or_unknown_request_is_refused(kind, framework, change, message):
    with pytest.raises(UsageError, match=message):
        render(make_request(kind, change, framework=framework))


@pytest.mark.parametrize(
    ("kind", "framework", "words"),
    [
        ("TrainJob", "torch", "$(PET_NODE_RANK) $(PET_MASTER_ADDR) $(PET_MASTER_PORT)"),
        ("TrainJob", "mindspore", "$(PET_NODE_RANK) $(PET_MASTER_ADDR) $(PET_MASTER_PORT)"),
        ("AscendJob", "torch", "$(RANK) $(MASTER_ADDR) $(MASTER_PORT)"),
        ("AscendJob", "mindspore", "$(MS_NODE_RANK) $(MS_SCHED_HOST) $(MS_SCHED_PORT)"),
    ],
)
def test_a_pod_takes_its_number_from_the_environment(kind, framework, words):
    rank, address, port = words.split()
    command = node_command(make_request(kind, {"count": 8}, framework=framework, nodes=4))
    devices = ("--num-devices", "8", "--nnodes", "4", "--node-rank", rank)
    assert command[-10:] == (*devices, "--master-addr", address, "--master-port", port)
    assert {"ssd", "train", "s3://b/o"} < set(command)


def test_every_run_has_its_own_dns_label_which_leaves_room_for_the_pods():
    runs = ["3f0f6a4e-8b3a-4f53-9a53-3f0f6a4e8b3a", "Run of Monday!", "", "9", "ends-with-"]
    runs += ["a b", "a-b", "A-b", "a" * 60, "a" * 61, "x" * 100]
    names = [job_name(run, "train") for run in runs]
    assert names == [job_name(run, "train") for run in runs]
    assert len(set(names)) == len(runs)
    for name in names:
        assert re.fullmatch("[a-z][a-z0-9-]*[a-z0-9]", name)
        assert len(f"{name}-node-0-0-abcde") <= 63


def test_a_digest_depends_on_the_manifest_alone():
    def annotations(launcher, owners, nodes):
        manifest = render(make_request(name="same", nodes=nodes))
        return signed(manifest, launcher, owners)["metadata"]["annotations"]

    mine, yours = annotations("me", OWNERS, 2), annotations("you", [], 2)
    assert mine[DIGEST] == yours[DIGEST] != annotations("me", OWNERS, 3)[DIGEST]
    assert (mine[LAUNCHER], yours[LAUNCHER]) == ("me", "you")
