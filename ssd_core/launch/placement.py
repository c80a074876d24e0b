"""What a job needs to know of the placement of a pipeline: a row of `pipelines/placements.yaml`."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from ssd_core.config import Section

JobKindName = Literal["TrainJob", "AscendJob"]
Cpu = Annotated[str, Field(pattern=r"^\d+(\.\d+)?$|^\d+m$")]
"""Cores, for example 4 or 500m."""
Memory = Annotated[str, Field(pattern=r"^\d+(E|Ei|P|Pi|T|Ti|G|Gi|M|Mi|K|Ki)?$")]
"""Bytes, for example 8Gi."""
Id = Annotated[int, Field(ge=0)]
"""Of a user or a group."""


class Toleration(Section):
    """A taint of nodes that the pods accept, in the words of Kubernetes."""

    key: str
    operator: Literal["Exists", "Equal"] = "Equal"
    value: str | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None


class Resources(Section):
    """Processors and memory of one pod; None leaves it to the cluster."""

    cpu_request: Cpu | None = None
    cpu_limit: Cpu | None = None
    memory_request: Memory | None = None
    memory_limit: Memory | None = None


class StoreSecret(Section):
    """The secret that holds the credentials of the store; its values never leave the cluster."""

    name: str = "mlpipeline-minio-artifact"
    """In the namespace of the run; the default is the one that Kubeflow Pipelines brings along."""
    keys: dict[str, str] = {
        "AWS_ACCESS_KEY_ID": "accesskey",
        "AWS_SECRET_ACCESS_KEY": "secretkey",
    }
    """Environment variable -> key of the secret."""


class JobSpec(Section):
    """The kind of job, and what only the cluster's administrator can say about it."""

    kind: JobKindName
    runtime: str | None = None
    """TrainJob: the TrainingRuntime of the namespace that the pods are made from."""
    labels: dict[str, str] = {}
    """Of the job, for example `kueue.x-k8s.io/queue-name` or `ring-controller.atlas`."""
    scheduler: str | None = None
    """AscendJob: the scheduler of the pods, for example `volcano`."""
    queue: str | None = None
    """AscendJob: the queue of that scheduler."""
    deadline_seconds: int | None = Field(default=None, gt=0)
    """Longest life of the whole job; None for any."""


class Placement(Section):
    """Surroundings of one pod; the keys of the row that only a pipeline needs are passed over."""

    model_config = ConfigDict(extra="ignore")

    image: str
    resource: str | None = None
    """Name of the accelerator as Kubernetes counts it; None for none."""
    count: int = Field(default=1, gt=0)
    """Accelerators of one pod, and processes in it."""
    resources: Resources = Resources()
    node_selector: dict[str, str] = {}
    tolerations: tuple[Toleration, ...] = ()
    shared_memory: Memory | None = None
    """Size of /dev/shm, for example 8Gi; None keeps the 64 MB of a container."""
    user: Id | None = None
    group: Id | None = None
    store_secret: StoreSecret | None = None
    environment: dict[str, str] = {}
    job: JobSpec | None = None

    @property
    def processes(self) -> int:
        """Processes of one pod: one for each accelerator, one where there is none."""
        return self.count if self.resource else 1
