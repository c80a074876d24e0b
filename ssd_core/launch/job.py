"""A training over several pods, in plain values, and the name and digest it goes by."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ssd_core.launch.placement import JobSpec, Placement

MANAGER = "ssd-on-kubeflow"
DIGEST = f"{MANAGER}/digest"
RUN = f"{MANAGER}/run"
LAUNCHER = f"{MANAGER}/launcher"

Manifest = dict[str, Any]

_MAX_NAME = 44
"""The pods' names add up to 19 characters, and all of it must stay below 64."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What is asked of the cluster."""

    name: str
    run: str
    """Id of the pipeline run, for the record."""
    framework: str
    command: tuple[str, ...]
    """Of every pod; `$(NAME)` stands for a variable of the pod's environment."""
    nodes: int
    placement: Placement
    spec: JobSpec


def job_name(run: str, task: str) -> str:
    """Return the name of the job of one task of one run: always the same, and a DNS label."""
    words = re.sub(r"[^a-z0-9]+", "-", f"{task}-{run}".lower()).strip("-")
    name = words if words[:1].isalpha() else f"job-{words}"
    if name == f"{task}-{run}" and len(name) <= _MAX_NAME:
        return name
    digest = hashlib.sha256(f"{task}\n{run}".encode()).hexdigest()[:10]
    return f"{name[: _MAX_NAME - 11].rstrip('-')}-{digest}"


def metadata(job: Job) -> Manifest:
    """Return what both kinds of job say about themselves."""
    labels = {"app.kubernetes.io/managed-by": MANAGER, **job.spec.labels}
    return {"name": job.name, "labels": labels, "annotations": {RUN: job.run}}


def digest_manifest(manifest: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a rendered job, before anybody adds owners to it."""
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def signed(manifest: Manifest, launcher: str, owners: list[Manifest]) -> Manifest:
    """Return the manifest as it is sent: with its digest, its maker and its owners.

    Args:
        manifest: a rendered job.
        launcher: a word that no other process uses.
        owners: references to what must be there for the job to stay.
    """
    about = manifest["metadata"]
    marks = {DIGEST: digest_manifest(manifest), LAUNCHER: launcher}
    about = about | {"annotations": about["annotations"] | marks}
    return manifest | {"metadata": about | ({"ownerReferences": owners} if owners else {})}


def filled(content: Mapping[str, Any]) -> Manifest:
    """Return a mapping without what is absent: None, and empty lists and mappings."""
    return {key: value for key, value in content.items() if value not in (None, {}, [])}
