"""The request for a training over several pods: its placement, name and digest."""

import hashlib
import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, PositiveInt, model_validator

from ssd_core.config import Section
from ssd_core.store.known_file import digest_json

MANAGER = "ssd-on-kubeflow"
DIGEST = f"{MANAGER}/digest"
RUN = f"{MANAGER}/run"
LAUNCHER = f"{MANAGER}/launcher"
MAX_RESTARTS = f"{MANAGER}/max-restarts"
"""Label that a training runtime gives its pods, equal to its `maxRestarts`."""

_PART_OF, _COMPONENT = "app.kubernetes.io/part-of", "app.kubernetes.io/component"
STEP_LABELS = {_PART_OF: MANAGER, _COMPONENT: "step"}
TRAINING_LABELS = {_PART_OF: MANAGER, _COMPONENT: "training"}
"""Labels of pods, which the network policies in manifests/ select. A TrainJob gets them from its
runtime."""

KubeObject = dict[str, Any]
"""A resource of the Kubernetes API, or a part of one, as JSON."""

_MAX_NAME = 44
"""The names of the pods are up to 19 characters longer, and limited to 63."""


JobKindName = Literal["TrainJob", "AscendJob"]
Cpu = Annotated[str, Field(pattern=r"^\d+(\.\d+)?$|^\d+m$")]
"""Cores, for example 4 or 500m."""
Memory = Annotated[str, Field(pattern=r"^\d+(E|Ei|P|Pi|T|Ti|G|Gi|M|Mi|K|Ki)?$")]
"""Bytes, for example 8Gi."""
Id = Annotated[int, Field(ge=0)]
"""Of a user or a group."""


class Toleration(Section):
    """A node taint that the pods tolerate; the fields are those of Kubernetes."""

    key: str
    operator: Literal["Exists", "Equal"] = "Equal"
    value: str | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None


class Resources(Section):
    """CPU and memory of one pod; None for the default of the cluster."""

    cpu_request: Cpu | None = None
    cpu_limit: Cpu | None = None
    memory_request: Memory | None = None
    memory_limit: Memory | None = None


class StoreSecret(Section):
    """The secret with the credentials of the store; its values never leave the cluster."""

    name: str = "mlpipeline-minio-artifact"
    """In the namespace of the run; the default is the secret that Kubeflow Pipelines creates."""
    keys: dict[str, str] = {
        "AWS_ACCESS_KEY_ID": "accesskey",
        "AWS_SECRET_ACCESS_KEY": "secretkey",
    }
    """Environment variable -> key of the secret."""


class JobSpec(Section):
    """The kind of job, and the settings that depend on the cluster."""

    kind: JobKindName
    runtime: str | None = None
    """TrainJob: the TrainingRuntime of the namespace that is the template of the pods."""
    labels: dict[str, str] = {}
    """Of the job, for example `kueue.x-k8s.io/queue-name` or `ring-controller.atlas`."""
    scheduler: str | None = None
    """AscendJob: the scheduler of the pods, for example `volcano`."""
    queue: str | None = None
    """AscendJob: the queue of that scheduler."""
    runtime_class: str | None = None
    """AscendJob: the RuntimeClass of the pods, for example `ascend`."""
    node_directories: tuple[Annotated[str, Field(pattern="^/")], ...] = ()
    """AscendJob: directories of the node that the pods read, for example those of the driver."""
    resources: dict[str, PositiveInt] = {}
    """Further resources of each pod, for example `rdma/hca_shared_devices_a: 1`."""
    capabilities: tuple[Literal["IPC_LOCK"], ...] = ()
    """Of the containers; RDMA pins memory with IPC_LOCK. Only user 0 can use it."""
    deadline_seconds: int | None = Field(default=None, gt=0)
    """Time limit of the whole job; None for no limit."""

    @model_validator(mode="after")
    def _settings_are_for_this_kind(self) -> "JobSpec":
        if self.kind == "TrainJob":
            for name in ("scheduler", "queue", "runtime_class", "node_directories"):
                if getattr(self, name):
                    raise ValueError(
                        f"{name} is for an AscendJob; a TrainJob has it in its runtime"
                    )
        return self


class PodPlacement(Section):
    """Environment of one pod."""

    image: str
    resource: str | None = None
    """Resource name of the accelerator in Kubernetes; None for no accelerator."""
    count: int = Field(default=1, gt=0)
    """Accelerators per pod, with one process each."""
    resources: Resources = Resources()
    node_selector: dict[str, str] = {}
    tolerations: tuple[Toleration, ...] = ()
    shared_memory: Memory | None = None
    """Size of /dev/shm, for example 8Gi; None keeps the default of 64 MB."""
    user: Id | None = None
    group: Id | None = None
    store_secret: StoreSecret | None = None
    environment: dict[str, str] = {}

    @property
    def processes(self) -> int:
        """Processes per pod: one per accelerator, one without accelerators."""
        return self.count if self.resource else 1


class JobPlacement(PodPlacement):
    """Environment of every pod of a job; keys of the row that only a pipeline needs are ignored."""

    model_config = ConfigDict(extra="ignore")

    job: JobSpec


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
    metadata = manifest["metadata"]
    marks = {DIGEST: digest_json(manifest), LAUNCHER: launcher}
    metadata = metadata | {"annotations": metadata["annotations"] | marks}
    return manifest | {"metadata": metadata | ({"ownerReferences": owners} if owners else {})}
