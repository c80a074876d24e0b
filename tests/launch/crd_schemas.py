"""The schemas of custom resources, as strict as the API server applies them."""

import copy

import yaml
from jsonschema import Draft202012Validator

from tests.launch.api_server import trainer_file


def trainer_schema(plural):
    """Return the schema of a resource of Kubeflow Trainer as published."""
    return read_schema(trainer_file(f"manifests/base/crds/trainer.kubeflow.org_{plural}.yaml"))


def read_schema(crd):
    version = yaml.safe_load(crd.read_text())["spec"]["versions"][0]
    return version["schema"]["openAPIV3Schema"]


def schema_problems(schema, manifest):
    """Return the violations of a schema, with the fields that it does not name."""
    errors = Draft202012Validator(_closed(schema)).iter_errors(manifest)
    return [f"{'.'.join(map(str, error.path))}: {error.message}" for error in errors]


def _closed(schema):
    schema = copy.deepcopy(schema)
    nodes = [schema]
    while nodes:
        node = nodes.pop()
        if "properties" in node and not node.get("x-kubernetes-preserve-unknown-fields"):
            node.setdefault("additionalProperties", False)
        children = [*node.get("properties", {}).values()]
        children += [node[key] for key in ("items", "additionalProperties") if key in node]
        nodes += [child for child in children if isinstance(child, dict)]
    schema["properties"]["metadata"] = {"type": "object"}
    return schema
