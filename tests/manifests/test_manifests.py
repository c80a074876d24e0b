"""The output of kustomize, validated against the schemas of Kubernetes and of Trainer."""

import functools
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from jsonschema import Draft202012Validator

from pipelines.placement import PLACEMENTS_PATH, load_placement
from ssd_core import __version__
from ssd_core.launch.job import MANAGER
from ssd_core.launch.manifests import PART_OF, render
from tests.launch.api_server import find_program
from tests.launch.conftest import make_request
from tests.launch.crd_schemas import closed_schema, trainer_schema
from tests.requirements import missing

MANIFESTS = Path(__file__).parents[2] / "manifests"
NETWORK_POLICY = MANIFESTS / "components" / "network-policy" / "network-policy.yaml"
OVERLAYS = ("local", "gpu", "ascend")
COMPONENTS = ("kfp-launcher", "network-policy", "store-secret")
KUBERNETES = "1.34"

Manifest = dict[str, Any]


@functools.cache
def build(folder: Path) -> list[Manifest]:
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
def overlay(request: pytest.FixtureRequest) -> list[Manifest]:
    return build(MANIFESTS / "overlays" / request.param)


@pytest.fixture(scope="module", params=COMPONENTS)
def with_component(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> list[Manifest]:
    """The gpu overlay with one of the optional parts, as in a user's own kustomization."""
    folder = tmp_path_factory.mktemp("user")
    shutil.copytree(MANIFESTS, folder / "manifests")
    lines = {
        "resources": ["manifests/overlays/gpu"],
        "components": [f"manifests/components/{request.param}"],
        "transformers": ["manifests/namespace"],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(lines))
    return build(folder)


def check(manifest: Manifest) -> None:
    """Validate a manifest against the schema of its kind; a kind without one is an error."""
    if manifest["kind"] == "TrainingRuntime":
        schema = closed_schema(trainer_schema("trainingruntimes"))
        errors = Draft202012Validator(schema).iter_errors(manifest)
        assert [f"{list(error.path)}: {error.message}" for error in errors] == []
    else:
        kubernetes_validate.validate(manifest, KUBERNETES, strict=True)


def values(node: Any) -> Iterator[Any]:
    if isinstance(node, dict):
        for child in node.values():
            yield from values(child)
    elif isinstance(node, list):
        for child in node:
            yield from values(child)
    else:
        yield node


def only(manifests: list[Manifest], kind: str) -> Manifest:
    (found,) = [manifest for manifest in manifests if manifest["kind"] == kind]
    return found


def test_every_manifest_fits_its_schema(overlay: list[Manifest]) -> None:
    assert overlay
    for manifest in overlay:
        check(manifest)


def test_optional_parts_fit_their_schema(with_component: list[Manifest]) -> None:
    for manifest in with_component:
        check(manifest)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"kind": "Sercet"}, kubernetes_validate.SchemaNotFoundError),
        ({"stringdata": {}}, kubernetes_validate.ValidationError),
        ({"kind": "TrainingRuntime", "spec": {"mlpolicy": {}}}, AssertionError),
    ],
)
def test_the_check_refuses_unknown_kinds_and_fields(
    change: Manifest, error: type[Exception]
) -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}}
    check(secret)
    with pytest.raises(error):
        check(secret | change)


def test_there_are_no_wildcards(overlay: list[Manifest]) -> None:
    rules = only(overlay, "Role")["rules"]
    assert rules
    assert "*" not in set(values(rules))
    assert not {"ClusterRole", "ClusterRoleBinding"} & {manifest["kind"] for manifest in overlay}


def test_everything_is_in_one_namespace(overlay: list[Manifest]) -> None:
    assert {manifest["metadata"]["namespace"] for manifest in overlay} == {"kubeflow"}
    assert {subject["namespace"] for subject in only(overlay, "RoleBinding")["subjects"]} == {
        "kubeflow"
    }


def test_a_runtime_runs_the_image_of_this_version(overlay: list[Manifest]) -> None:
    runtime = only(overlay, "TrainingRuntime")
    name = runtime["metadata"]["name"].removeprefix("ssd-")
    (container,) = pod_of(runtime)["containers"]
    assert container["image"] == f"ssd-on-kubeflow/{name}:{__version__}"
    assert container["name"] == "node"


def test_a_runtime_restarts_only_failures_that_may_pass(overlay: list[Manifest]) -> None:
    job = only(overlay, "TrainingRuntime")["spec"]["template"]["spec"]["replicatedJobs"][0]
    (rule,) = job["template"]["spec"]["podFailurePolicy"]["rules"]
    assert (rule["action"], rule["onExitCodes"]["values"]) == ("FailJob", [2, 3])
    assert job["template"]["spec"]["template"]["spec"]["restartPolicy"] == "Never"


def test_the_rules_of_a_runtime_have_names_that_jobset_accepts(overlay: list[Manifest]) -> None:
    """Its webhook checks them on creation; the schema has the pattern only in a description."""
    schema = trainer_schema("trainingruntimes")["properties"]["spec"]["properties"]["template"]
    policy = schema["properties"]["spec"]["properties"]["failurePolicy"]["properties"]
    text = policy["rules"]["items"]["properties"]["name"]["description"]
    (pattern,) = re.findall(r'regular expression "(.+)"', text)
    template = only(overlay, "TrainingRuntime")["spec"]["template"]
    for rule in template["spec"]["failurePolicy"]["rules"]:
        assert re.fullmatch(pattern, rule["name"])


def test_the_pods_of_a_runtime_are_pods(overlay: list[Manifest]) -> None:
    spec = pod_of(only(overlay, "TrainingRuntime"))
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": spec}
    kubernetes_validate.validate(pod, KUBERNETES, strict=True)


def test_the_runtimes_of_all_placements_exist() -> None:
    wanted = set()
    for row in yaml.safe_load(PLACEMENTS_PATH.read_text()):
        if (job := load_placement(row).job) and job.kind == "TrainJob":
            wanted.add(job.runtime)
    built = [build(MANIFESTS / "overlays" / overlay) for overlay in OVERLAYS]
    names = {only(manifests, "TrainingRuntime")["metadata"]["name"] for manifests in built}
    assert wanted
    assert wanted <= names


def test_every_secret_is_a_template(with_component: list[Manifest]) -> None:
    for manifest in with_component:
        if manifest["kind"] == "Secret":
            assert set(manifest["stringData"].values()) == {"REPLACE-ME"}


def test_the_example_of_a_store_refers_to_the_template_of_its_secret() -> None:
    folder = MANIFESTS / "components"
    secret = yaml.safe_load((folder / "store-secret" / "secret.yaml").read_text())
    config = yaml.safe_load((folder / "kfp-launcher" / "config-map.yaml").read_text())
    store = yaml.safe_load(config["data"]["providers"])["s3"]["default"]
    reference = store["credentials"]["secretRef"]
    assert reference["secretName"] == secret["metadata"]["name"]
    assert {reference["accessKeyKey"], reference["secretKeyKey"]} == set(secret["stringData"])
    assert store["region"]


def test_the_network_policy_finds_the_pods_of_both_kinds_of_job() -> None:
    policy = yaml.safe_load(NETWORK_POLICY.read_text())
    wanted = policy["spec"]["podSelector"]["matchLabels"]
    assert wanted == {PART_OF: MANAGER}
    ascend = render(make_request("AscendJob"))["spec"]["replicaSpecs"]
    templates = [replica["template"] for replica in ascend.values()]
    runtime = yaml.safe_load((MANIFESTS / "runtime" / "training-runtime.yaml").read_text())
    templates.append(template_of(runtime))
    for template in templates:
        assert wanted.items() <= template["metadata"]["labels"].items()


def test_the_network_policy_allows_dns() -> None:
    rules = yaml.safe_load(NETWORK_POLICY.read_text())["spec"]["egress"]
    ports = [(port["protocol"], port["port"]) for rule in rules for port in rule.get("ports", [])]
    assert {("UDP", 53), ("TCP", 53)} <= set(ports)


def template_of(runtime: Manifest) -> Manifest:
    job = runtime["spec"]["template"]["spec"]["replicatedJobs"][0]
    template: Manifest = job["template"]["spec"]["template"]
    return template


def pod_of(runtime: Manifest) -> Manifest:
    pod: Manifest = template_of(runtime)["spec"]
    return pod
