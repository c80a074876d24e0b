"""A TrainJob of Kubeflow Trainer v2 (trainer.kubeflow.org/v1alpha1)."""

from ssd_core.errors import UsageError
from ssd_core.launch.job import MANAGER, Job, Manifest, filled, metadata
from ssd_core.launch.pod import environment, mounts, resources, surroundings

CONTAINER = "node"
"""Trainer looks for this name, of the container and of the group of pods."""


def render(job: Job) -> Manifest:
    """Return the manifest of a job.

    `numProcPerNode` is always written: Trainer guesses it from resource names that contain `gpu`,
    and counts processors for all others.

    Raises:
        UsageError: the placement names no training runtime.
    """
    if not job.spec.runtime:
        raise UsageError("placement: a TrainJob needs job.runtime, the name of a TrainingRuntime")
    group = {"name": CONTAINER, "template": {"spec": {"template": {"spec": _pod_patch(job)}}}}
    return {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": "TrainJob",
        "metadata": metadata(job),
        "spec": filled(
            {
                "activeDeadlineSeconds": job.spec.deadline_seconds,
                "runtimeRef": {
                    "apiGroup": "trainer.kubeflow.org",
                    "kind": "TrainingRuntime",
                    "name": job.spec.runtime,
                },
                "trainer": filled(
                    {
                        "image": job.placement.image,
                        "command": list(job.command),
                        "env": environment(job.placement),
                        "numNodes": job.nodes,
                        "numProcPerNode": job.placement.processes,
                        "resourcesPerNode": resources(job.placement),
                    }
                ),
                "runtimePatches": [
                    {
                        "manager": f"{MANAGER}/launcher",
                        "trainingRuntimeSpec": {"template": {"spec": {"replicatedJobs": [group]}}},
                    }
                ],
            }
        ),
    }


def _pod_patch(job: Job) -> Manifest:
    container = {"name": CONTAINER, "volumeMounts": mounts(job.placement)}
    return surroundings(job.placement) | {"containers": [container]}
