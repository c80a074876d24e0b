"""The manifests of both kinds of job, and a table of the differences between them.

TrainJob: Kubeflow Trainer v2 (trainer.kubeflow.org/v1alpha1). AscendJob: MindCluster
(mindxdl.gitee.com/v1).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ssd_core.errors import UsageError, unknown_name
from ssd_core.launch.job import (
    MANAGER,
    RUN,
    TRAINING_LABELS,
    JobPlacement,
    JobRequest,
    KubeObject,
)

Command = tuple[str, ...]

_JOB_LABEL = f"{MANAGER}/job"
_NODE_LABEL = f"{MANAGER}/node"
_TERMINATION_LOG = "/dev/termination-log"
"""The kubelet copies the content of this file into the status of the pod."""
_TRAIN_CONTAINER = "node"
"""Trainer requires this name, for the container and for the group of pods."""
_ASCEND_CONTAINER = "ascend"
"""The Ascend operator ignores containers of other names."""
_ASCEND_FRAMEWORKS = {"torch": ("pytorch", "Master"), "mindspore": ("mindspore", "Scheduler")}
"""Framework -> the operator's name for it, and the replica that is node 0. Since its scheduler has
accelerators too, the operator numbers the workers of MindSpore from 1, like those of PyTorch."""


def _render_train_job(request: JobRequest, command: Command) -> KubeObject:
    placement, spec = request.placement, request.placement.job
    if not spec.runtime:
        raise UsageError("placement: a TrainJob needs job.runtime, the name of a TrainingRuntime")
    container: KubeObject = {"name": _TRAIN_CONTAINER}
    if spec.capabilities:
        container["securityContext"] = _security(placement)
    pod = _pod(placement, container)
    group = {"name": _TRAIN_CONTAINER, "template": {"spec": {"template": {"spec": pod}}}}
    return {
        "activeDeadlineSeconds": spec.deadline_seconds,
        "runtimeRef": {
            "apiGroup": "trainer.kubeflow.org",
            "kind": "TrainingRuntime",
            "name": spec.runtime,
        },
        "trainer": {
            "image": placement.image,
            "command": list(command),
            "env": _environment(placement),
            "numNodes": request.nodes,
            # Always written: Trainer recognises an accelerator only by a name that contains `gpu`,
            # and counts processors otherwise.
            "numProcPerNode": placement.processes,
            "resourcesPerNode": _resources(placement),
        },
        "runtimePatches": [
            {
                "manager": f"{MANAGER}/launcher",
                "trainingRuntimeSpec": {"template": {"spec": {"replicatedJobs": [group]}}},
            }
        ],
    }


def _render_ascend_job(request: JobRequest, command: Command) -> KubeObject:
    spec = request.placement.job
    if not request.placement.resource:  # the operator sets no variables for pods without
        raise UsageError("placement: an AscendJob needs a resource, for example huawei.com/...")
    _, leader = _ASCEND_FRAMEWORKS[request.framework]
    replicas = {leader: _ascend_replica(request, command, 1, {_NODE_LABEL: "0"})}
    if request.nodes > 1:
        replicas["Worker"] = _ascend_replica(request, command, request.nodes - 1, {})
    return {
        "schedulerName": spec.scheduler,
        "runPolicy": {
            "activeDeadlineSeconds": spec.deadline_seconds,
            "backoffLimit": 0,
            "schedulingPolicy": {"minAvailable": request.nodes, "queue": spec.queue},
        },
        "successPolicy": "AllWorkers",
        "replicaSpecs": replicas,
    }


def _ascend_replica(
    request: JobRequest, command: Command, count: int, labels: Mapping[str, str]
) -> KubeObject:
    placement = request.placement
    container = {
        "name": _ASCEND_CONTAINER,
        "image": placement.image,
        "command": list(command),
        "env": _environment(placement) + _ascend_devices(request),
        "ports": [{"name": "ascendjob-port", "containerPort": 2222}],
        "resources": _resources(placement),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": _security(placement),
    }
    pod = _pod(placement, container) | {
        "automountServiceAccountToken": False,
        "runtimeClassName": placement.job.runtime_class,
    }
    labels = {**request.placement.job.labels, **TRAINING_LABELS, _JOB_LABEL: request.name, **labels}
    template = {"metadata": {"labels": labels}, "spec": pod}
    return {"replicas": count, "restartPolicy": "Never", "template": template}


def _ascend_devices(request: JobRequest) -> list[KubeObject]:
    """Return the variable with the devices that Volcano chose; other schedulers choose none."""
    if request.placement.job.scheduler != "volcano":
        return []
    path = f"metadata.annotations['{request.placement.resource}']"
    source = {"fieldRef": {"fieldPath": path}}
    return [{"name": "ASCEND_VISIBLE_DEVICES", "valueFrom": source}]


def _environment(placement: JobPlacement) -> list[KubeObject]:
    """Return the variables of a container; secrets only as references."""
    plain = {"SSD_TERMINATION_LOG": _TERMINATION_LOG, "HOME": "/tmp"} | placement.environment
    variables: list[KubeObject] = [{"name": name, "value": value} for name, value in plain.items()]
    if secret := placement.store_secret:
        for name, key in secret.keys.items():
            reference = {"name": secret.name, "key": key}
            variables.append({"name": name, "valueFrom": {"secretKeyRef": reference}})
    return variables


def _resources(placement: JobPlacement) -> KubeObject:
    pod = placement.resources
    # Kubernetes requires an accelerator in both.
    device = {placement.resource: str(placement.count)} if placement.resource else {}
    device |= {name: str(count) for name, count in placement.job.resources.items()}
    return {
        "limits": {"cpu": pod.cpu_limit, "memory": pod.memory_limit} | device,
        "requests": {"cpu": pod.cpu_request, "memory": pod.memory_request} | device,
    }


def _security(placement: JobPlacement) -> KubeObject:
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"], "add": list(placement.job.capabilities)},
    }


def _pod(placement: JobPlacement, container: KubeObject) -> KubeObject:
    """Return a pod with one container; it mounts /tmp, as the root is read-only."""
    volumes: list[KubeObject] = [{"name": "tmp", "emptyDir": {"medium": ""}}]
    mounts: list[KubeObject] = [{"name": "tmp", "mountPath": "/tmp"}]
    if placement.shared_memory:
        memory = {"medium": "Memory", "sizeLimit": placement.shared_memory}
        volumes.append({"name": "shared-memory", "emptyDir": memory})
        mounts.append({"name": "shared-memory", "mountPath": "/dev/shm"})
    for number, path in enumerate(placement.job.node_directories):
        name = f"node-{number}"
        volumes.append({"name": name, "hostPath": {"path": path, "type": "Directory"}})
        mounts.append({"name": name, "mountPath": path, "readOnly": True})
    return {
        "nodeSelector": placement.node_selector,
        "tolerations": [row.model_dump() for row in placement.tolerations],
        "securityContext": {
            "runAsUser": placement.user,
            "runAsGroup": placement.group,
            "runAsNonRoot": placement.user != 0,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumes": volumes,
        "containers": [container | {"volumeMounts": mounts}],
    }


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class JobKind:
    """The differences between the kinds of job."""

    name: str
    group: str
    version: str
    plural: str
    operator: str
    """Software that the cluster needs for this kind."""
    render_spec: Callable[[JobRequest, Command], KubeObject]
    rank_variables: Mapping[str, tuple[str, str, str]]
    """By framework, the variables that the operator sets: number of the pod, address and port of
    pod 0."""
    container: str
    """Name of the container that trains."""
    job_label: str
    """Label of the pods that holds the name of their job."""
    rank_0: Mapping[str, str]
    """Labels of the pod that holds rank 0, besides `job_label`."""
    restart_label: str | None = None
    """Label of the pods that counts the restarts of the job."""

    @property
    def resource(self) -> str:
        """Name of the kind in the rules of a Role and for `kubectl`."""
        return f"{self.plural}.{self.group}"


_PET = ("PET_NODE_RANK", "PET_MASTER_ADDR", "PET_MASTER_PORT")
_TRAIN_JOB = JobKind(
    name="TrainJob",
    group="trainer.kubeflow.org",
    version="v1alpha1",
    plural="trainjobs",
    operator="Kubeflow Trainer v2",
    render_spec=_render_train_job,
    # The runtime is always the one for torch, which sets no other variables.
    rank_variables={"torch": _PET, "mindspore": _PET},
    container=_TRAIN_CONTAINER,
    job_label="jobset.sigs.k8s.io/jobset-name",
    rank_0={
        "jobset.sigs.k8s.io/replicatedjob-name": _TRAIN_CONTAINER,
        "batch.kubernetes.io/job-completion-index": "0",
    },
    restart_label="jobset.sigs.k8s.io/restart-attempt",
)
_ASCEND_JOB = JobKind(
    name="AscendJob",
    group="mindxdl.gitee.com",
    version="v1",
    plural="ascendjobs",
    operator="the Ascend operator of MindCluster",
    render_spec=_render_ascend_job,
    rank_variables={
        "torch": ("RANK", "MASTER_ADDR", "MASTER_PORT"),
        "mindspore": ("MS_NODE_RANK", "MS_SCHED_HOST", "MS_SCHED_PORT"),
    },
    container=_ASCEND_CONTAINER,
    job_label=_JOB_LABEL,
    rank_0={_NODE_LABEL: "0"},
)
KINDS: Mapping[str, JobKind] = {kind.name: kind for kind in (_TRAIN_JOB, _ASCEND_JOB)}


def render(request: JobRequest) -> KubeObject:
    """Return the manifest of a job, without owners.

    Raises:
        UsageError: the placement lacks a key of this kind of job, or the framework is unknown.
    """
    kind, command = KINDS[request.placement.job.kind], node_command(request)
    labels = {"app.kubernetes.io/managed-by": MANAGER, **request.placement.job.labels}
    if kind is _ASCEND_JOB:
        labels["framework"], _ = _ASCEND_FRAMEWORKS[request.framework]
    metadata = {"name": request.name, "labels": labels, "annotations": {RUN: request.run}}
    manifest: KubeObject = _without_empty(
        {
            "apiVersion": f"{kind.group}/{kind.version}",
            "kind": kind.name,
            "metadata": metadata,
            "spec": kind.render_spec(request, command),
        }
    )
    return manifest


def node_command(request: JobRequest) -> Command:
    """Return the command of every pod: the `ssd` command in each of its processes.

    Kubernetes itself replaces `$(NAME)` by a variable of the pod, so no shell is needed.
    """
    variables = KINDS[request.placement.job.kind].rank_variables
    if request.framework not in variables:
        raise unknown_name("framework", request.framework, variables)
    rank, address, port = (f"$({name})" for name in variables[request.framework])
    processes = request.placement.processes
    # The operators set variables that would make `ssd train` a rank itself, instead of the process
    # that starts the ranks; that of Ascend counts pods in RANK, but processes in WORLD_SIZE.
    return (
        *("env", "-u", "WORLD_SIZE", "-u", "MS_WORKER_NUM", "-u", "MS_ROLE"),
        *("ssd", *request.arguments),
        *("--num-devices", str(processes), "--nnodes", str(request.nodes), "--node-rank", rank),
        *("--master-addr", address, "--master-port", port),
    )


def _without_empty(content: Any) -> Any:
    """Return JSON without the values that are None or empty, at any depth."""
    if isinstance(content, list):
        return [_without_empty(item) for item in content]
    if not isinstance(content, dict):
        return content
    filled = {key: _without_empty(value) for key, value in content.items()}
    return {key: value for key, value in filled.items() if value not in (None, {}, [])}
