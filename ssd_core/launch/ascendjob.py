"""An AscendJob of MindCluster (mindxdl.gitee.com/v1)."""

from ssd_core.errors import UsageError
from ssd_core.launch.job import MANAGER, Job, Manifest, filled, metadata
from ssd_core.launch.pod import environment, mounts, resources, surroundings

CONTAINER = "ascend"
"""The operator only looks at a container of this name."""
JOB_LABEL = f"{MANAGER}/job"
NODE_LABEL = f"{MANAGER}/node"
PART_OF = "app.kubernetes.io/part-of"
"""The network policy of manifests/ looks for it; a TrainJob has it from its training runtime."""

_FRAMEWORKS = {"torch": ("pytorch", "Master"), "mindspore": ("mindspore", "Scheduler")}
"""Ours -> the operator's word, and the replica that is node 0. As its scheduler holds accelerators
too, the operator numbers the workers of MindSpore from 1, as it does those of PyTorch."""
_PORT = {"name": "ascendjob-port", "containerPort": 2222}


def render(job: Job) -> Manifest:
    """Return the manifest of a job; the operator tells ranks and addresses by environment.

    Raises:
        UsageError: no accelerators; the operator tells nothing to pods without.
    """
    if not job.placement.resource:
        raise UsageError("placement: an AscendJob needs a resource, for example huawei.com/...")
    framework, leader = _FRAMEWORKS[job.framework]
    about = metadata(job)
    replicas = {leader: _replica(job, 1, is_leader=True)}
    if job.nodes > 1:
        replicas["Worker"] = _replica(job, job.nodes - 1, is_leader=False)
    policy = filled(
        {
            "activeDeadlineSeconds": job.spec.deadline_seconds,
            "backoffLimit": 0,
            "schedulingPolicy": filled({"minAvailable": job.nodes, "queue": job.spec.queue}),
        }
    )
    return {
        "apiVersion": "mindxdl.gitee.com/v1",
        "kind": "AscendJob",
        "metadata": about | {"labels": about["labels"] | {"framework": framework}},
        "spec": filled(
            {
                "schedulerName": job.spec.scheduler,
                "runPolicy": policy,
                "successPolicy": "AllWorkers",
                "replicaSpecs": replicas,
            }
        ),
    }


def _replica(job: Job, count: int, *, is_leader: bool) -> Manifest:
    labels = {PART_OF: MANAGER, JOB_LABEL: job.name} | ({NODE_LABEL: "0"} if is_leader else {})
    container = filled(
        {
            "name": CONTAINER,
            "image": job.placement.image,
            "command": list(job.command),
            "env": environment(job.placement) + _devices(job),
            "ports": [_PORT],
            "resources": resources(job.placement),
            "volumeMounts": mounts(job.placement),
            "terminationMessagePolicy": "FallbackToLogsOnError",
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            },
        }
    )
    return {
        "replicas": count,
        "restartPolicy": "Never",
        "template": {
            "metadata": {"labels": job.spec.labels | labels},
            "spec": {
                **surroundings(job.placement),
                "automountServiceAccountToken": False,
                "containers": [container],
            },
        },
    }


def _devices(job: Job) -> list[Manifest]:
    """Return what shows a pod the devices that Volcano chose; without Volcano nobody writes it."""
    if job.spec.scheduler != "volcano":
        return []
    chosen = {"fieldRef": {"fieldPath": f"metadata.annotations['{job.placement.resource}']"}}
    return [{"name": "ASCEND_VISIBLE_DEVICES", "valueFrom": chosen}]
