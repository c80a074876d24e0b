"""The schemas of custom resources, as strict as the API server applies them."""

import copy
from pathlib import Path
from typing import Any

import yaml

from tests.launch.api_server import trainer_file


def trainer_schema(plural: str) -> Any:
    """Return the schema of a resource of Kubeflow Trainer as published."""
    return read_schema(trainer_file(f"manifests/base/crds/trainer.kubeflow.org_{plural}.yaml"))


def read_schema(crd: Path) -> Any:
    version = yaml.safe_load(crd.read_text())["spec"]["versions"][0]
    return version["schema"]["openAPIV3Schema"]


def closed_schema(schema: Any) -> Any:
    """Return a schema that refuses the fields that it does not name."""
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
