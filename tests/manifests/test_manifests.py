"""The output of kustomize, validated against the schemas of Kubernetes and of Trainer."""

import functools
import re
import shutil
import subprocess
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from pipelines.placement import PLACEMENTS_PATH, load_placement
from ssd_core import __version__
from ssd_core.launch.job import MAX_RESTARTS, STEP_LABELS, TRAINING_LABELS
from ssd_core.launch.manifests import render
from tests.launch.api_server import find_program
from tests.launch.conftest import make_request
from tests.launch.crd_schemas import schema_problems, trainer_schema
from tests.requirements import missing

MANIFESTS = Path(__file__).parents[2] / "manifests"
NETWORK_POLICY = MANIFESTS / "components" / "network-policy" / "network-policy.yaml"
OVERLAYS = ("local", "gpu", "ascend")
COMPONENTS = ("kfp-launcher", "network-policy", "nvidia-runtime-class", "store-secret")
KUBERNETES = "1.34"


@functools.cache
def build(folder):
    kustomize = find_program("kustomize")
    if kustomize is None:
        missing(
            "kustomize",
            "no kustomize here: go install sigs.k8s.io/kustomize/kustomize/v5@v5.7.1",
        )
    built = subprocess.run([kustomize, "build", folder], capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    assert built.stderr == ""
    return list(yaml.safe_load_all(built.stdout))


@pytest.fixture(scope="module", params=OVERLAYS)
def overlay(request):
    return build(MANIFESTS / "overlays" / request.param)


@pytest.fixture(scope="module", params=COMPONENTS)
def with_component(request, tmp_path_factory):
    """The gpu overlay with one of the optional parts, as in a user's own kustomization."""
    return build_with_component(request.param, tmp_path_factory.mktemp("user"))


def build_with_component(component, folder):
    shutil.copytree(MANIFESTS, folder / "manifests")
    lines = {
        "resources": ["manifests/overlays/gpu"],
        "components": [f"manifests/components/{component}"],
        "transformers": ["manifests/namespace"],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(lines))
    return build(folder)


def check(manifest):
    """Validate a manifest against the schema of its kind; a kind without one is an error."""
    if manifest["kind"] == "TrainingRuntime":
        assert schema_problems(trainer_schema("trainingruntimes"), manifest) == []
    else:
        kubernetes_validate.validate(manifest, KUBERNETES, strict=True)


def read(path):
    return yaml.safe_load(path.read_text())


def only(manifests, kind):
    (found,) = [manifest for manifest in manifests if manifest["kind"] == kind]
    return found


def test_every_manifest_fits_its_schema(overlay):
    assert overlay
    for manifest in overlay:
        check(manifest)
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}}
    check(pod | {"spec": pod_of(only(overlay, "TrainingRuntime"))})


def test_optional_parts_fit_their_schema_and_hold_no_secrets(with_component):
    for manifest in with_component:
        check(manifest)
        if manifest["kind"] == "Secret":
            assert set(manifest["stringData"].values()) == {"REPLACE-ME"}


def test_a_runtime_class_of_nvidia_is_optional(tmp_path):
    overlay = MANIFESTS / "overlays" / "gpu"
    assert "runtimeClassName" not in pod_of(only(build(overlay), "TrainingRuntime"))
    with_class = build_with_component("nvidia-runtime-class", tmp_path)
    assert pod_of(only(with_class, "TrainingRuntime"))["runtimeClassName"] == "nvidia"


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"kind": "Sercet"}, kubernetes_validate.SchemaNotFoundError),
        ({"stringdata": {}}, kubernetes_validate.ValidationError),
        ({"kind": "TrainingRuntime", "spec": {"mlpolicy": {}}}, AssertionError),
    ],
)
def test_the_check_refuses_unknown_kinds_and_fields(change, error):
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}}
    check(secret)
    with pytest.raises(error):
        check(secret | change)


def test_there_are_no_wildcards(overlay):
    rules = only(overlay, "Role")["rules"]
    assert rules
    assert "*" not in {value for rule in rules for part in rule.values() for value in part}
    assert not {"ClusterRole", "ClusterRoleBinding"} & {manifest["kind"] for manifest in overlay}


def test_everything_is_in_one_namespace(overlay):
    assert {manifest["metadata"]["namespace"] for manifest in overlay} == {"kubeflow"}
    assert {subject["namespace"] for subject in only(overlay, "RoleBinding")["subjects"]} == {
        "kubeflow"
    }


def test_a_runtime_runs_the_image_of_this_version(overlay):
    runtime = only(overlay, "TrainingRuntime")
    name = runtime["metadata"]["name"].removeprefix("ssd-")
    (container,) = pod_of(runtime)["containers"]
    assert container["image"] == f"ssd-on-kubeflow/{name}:{__version__}"
    assert container["name"] == "node"


def test_a_runtime_restarts_only_failures_that_may_pass(overlay):
    runtime = only(overlay, "TrainingRuntime")
    (rule,) = job_of(runtime)["template"]["spec"]["podFailurePolicy"]["rules"]
    assert (rule["action"], rule["onExitCodes"]["values"]) == ("FailJob", [2, 3, 76])
    assert pod_of(runtime)["restartPolicy"] == "Never"
    limit = runtime["spec"]["template"]["spec"]["failurePolicy"]["maxRestarts"]
    assert template_of(runtime)["metadata"]["labels"][MAX_RESTARTS] == str(limit)


def test_the_rules_of_a_runtime_have_names_that_jobset_accepts(overlay):
    """Its webhook checks them on creation; the schema has the pattern only in a description."""
    schema = trainer_schema("trainingruntimes")["properties"]["spec"]["properties"]["template"]
    policy = schema["properties"]["spec"]["properties"]["failurePolicy"]["properties"]
    text = policy["rules"]["items"]["properties"]["name"]["description"]
    (pattern,) = re.findall(r'regular expression "(.+)"', text)
    template = only(overlay, "TrainingRuntime")["spec"]["template"]
    for rule in template["spec"]["failurePolicy"]["rules"]:
        assert re.fullmatch(pattern, rule["name"])


def test_the_runtimes_of_all_placements_exist():
    jobs = [load_placement(row).job for row in read(PLACEMENTS_PATH)]
    wanted = {job.runtime for job in jobs if job and job.kind == "TrainJob"}
    built = [build(MANIFESTS / "overlays" / overlay) for overlay in OVERLAYS]
    names = {only(manifests, "TrainingRuntime")["metadata"]["name"] for manifests in built}
    assert wanted
    assert wanted <= names


def test_the_example_of_a_store_refers_to_the_template_of_its_secret():
    folder = MANIFESTS / "components"
    secret = read(folder / "store-secret" / "secret.yaml")
    config = read(folder / "kfp-launcher" / "config-map.yaml")
    store = yaml.safe_load(config["data"]["providers"])["s3"]["default"]
    reference = store["credentials"]["secretRef"]
    assert reference["secretName"] == secret["metadata"]["name"]
    assert {reference["accessKeyKey"], reference["secretKeyKey"]} == set(secret["stringData"])
    assert store["region"]


def test_the_network_policies_find_every_pod():
    policies = read_policies()
    selected = {name: spec["podSelector"]["matchLabels"] for name, spec in policies.items()}
    assert selected == {"ssd-training": TRAINING_LABELS, "ssd-steps": STEP_LABELS}
    ascend = render(make_request("AscendJob"))["spec"]["replicaSpecs"]
    templates = [replica["template"] for replica in ascend.values()]
    templates.append(template_of(read(MANIFESTS / "runtime" / "training-runtime.yaml")))
    for template in templates:
        assert TRAINING_LABELS.items() <= template["metadata"]["labels"].items()


def test_the_network_policies_allow_dns():
    for policy in read_policies().values():
        rules = [port for rule in policy["egress"] for port in rule.get("ports", [])]
        assert {("UDP", 53), ("TCP", 53)} <= {(port["protocol"], port["port"]) for port in rules}


@pytest.mark.parametrize("user", [None, 12345])
@pytest.mark.parametrize("kind", ["TrainJob", "AscendJob"])
def test_the_restricted_profile_accepts_the_pods_that_train(kind, user):
    """Pod Security Standards, `restricted`."""
    spec = render(make_request(kind, {"user": user}))["spec"]
    if kind == "TrainJob":
        pod = pod_of(read(MANIFESTS / "runtime" / "training-runtime.yaml"))
        (job,) = spec["runtimePatches"][0]["trainingRuntimeSpec"]["template"]["spec"][
            "replicatedJobs"
        ]
        patch = job["template"]["spec"]["template"]["spec"]
        pod["securityContext"] |= patch["securityContext"]
        pods = [pod | {"volumes": patch["volumes"]}]
    else:
        pods = [replica["template"]["spec"] for replica in spec["replicaSpecs"].values()]
    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert {kind for volume in pod["volumes"] for kind in volume} == {"name", "emptyDir"}
        (container,) = pod["containers"]
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def read_policies():
    return {
        policy["metadata"]["name"]: policy["spec"]
        for policy in yaml.safe_load_all(NETWORK_POLICY.read_text())
    }


def job_of(runtime):
    return runtime["spec"]["template"]["spec"]["replicatedJobs"][0]


def template_of(runtime):
    return job_of(runtime)["template"]["spec"]["template"]


def pod_of(runtime):
    return template_of(runtime)["spec"]
