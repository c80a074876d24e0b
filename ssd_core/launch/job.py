"""The request for a training over several pods, its name and its digest."""

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

from ssd_core.launch.placement import JobPlacement, JobSpec

MANAGER = "ssd-on-kubeflow"
DIGEST = f"{MANAGER}/digest"
RUN = f"{MANAGER}/run"
LAUNCHER = f"{MANAGER}/launcher"

KubeObject = dict[str, Any]
"""A resource of the Kubernetes API, or a part of one, as JSON."""

_MAX_NAME = 44
"""The names of the pods are up to 19 characters longer, and limited to 63."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRequest:
    """A training over several pods."""

    name: str
    run: str
    """Id of the pipeline run, as a note for the reader of the job."""
    framework: str
    arguments: tuple[str, ...]
    """Of `ssd`, the same in every pod."""
    nodes: int
    placement: JobPlacement
    spec: JobSpec


def job_name(run: str, task: str) -> str:
    """Return the name of the job of one task of one run: always the same, and a DNS label."""
    words = re.sub(r"[^a-z0-9]+", "-", f"{task}-{run}".lower()).strip("-")
    name = words if words[:1].isalpha() else f"job-{words}"
    if name == f"{task}-{run}" and len(name) <= _MAX_NAME:
        return name
    digest = hashlib.sha256(f"{task}\n{run}".encode()).hexdigest()[:10]
    return f"{name[: _MAX_NAME - 11].rstrip('-')}-{digest}"


def signed(manifest: KubeObject, launcher: str, owners: list[KubeObject]) -> KubeObject:
    """Return a manifest with its SHA-256, the id of its launcher, and its owners.

    The owners are references to the objects whose removal also removes the job.
    """
    digest = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
    metadata = manifest["metadata"]
    marks = {DIGEST: digest, LAUNCHER: launcher}
    metadata = metadata | {"annotations": metadata["annotations"] | marks}
    return manifest | {"metadata": metadata | ({"ownerReferences": owners} if owners else {})}
