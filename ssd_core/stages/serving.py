"""The files with which Triton and KServe serve an exported ONNX file."""

import json
import re
from collections.abc import Mapping
from typing import Any

from ssd_core.errors import UsageError

TRITON_FILE = "config.pbtxt"
KSERVE_FILE = "inference-service.json"

_MAX_BATCH = 8
"""Requests that Triton may compute together; an edit of its file changes it."""
_TYPES = {"uint8": "TYPE_UINT8", "float32": "TYPE_FP32"}


def check_service_name(name: str) -> None:
    """Check the name of a model on a server, which is also that of a Kubernetes object.

    Raises:
        UsageError: Kubernetes refuses it.
    """
    if not re.fullmatch(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", name):
        raise UsageError(
            f"'{name}' is not a name for a served model: use up to 63 lower-case letters, digits "
            "and '-', a letter first, for example --triton cells"
        )


def triton_config(name: str, interface: Mapping[str, Any]) -> str:
    """Return a `config.pbtxt`: the protocol buffer message `ModelConfig` of Triton as text.

    Args:
        name: of the model, equal to that of its folder.
        interface: `input` and `outputs` of the certificate.
    """
    entries = [("input", interface["input"]), *(("output", each) for each in interface["outputs"])]
    tensors = [
        f'{kind} {{ name: "{each["name"]}" data_type: {_TYPES[each["type"]]} '
        f"dims: {each['shape'][1:]} }}"
        for kind, each in entries
    ]
    head = [f'name: "{name}"', 'backend: "onnxruntime"', f"max_batch_size: {_MAX_BATCH}"]
    return "\n".join([*head, "dynamic_batching { }", *tensors, ""])


def kserve_manifest(name: str, repository: str) -> str:
    """Return an `InferenceService` of KServe for a Triton repository in a store, as JSON."""
    model = {
        "modelFormat": {"name": "triton"},
        "protocolVersion": "v2",
        "storageUri": repository,
    }
    manifest = {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": name},
        "spec": {"predictor": {"model": model}},
    }
    return json.dumps(manifest, indent=2) + "\n"
