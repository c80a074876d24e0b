"""What the pods of both kinds of job have in common."""

from collections.abc import Mapping

from ssd_core.launch.job import Manifest, filled
from ssd_core.launch.placement import Placement

TERMINATION_LOG = "/dev/termination-log"
"""What a container writes here stands in the status of its pod when it has ended."""


def environment(placement: Placement) -> list[Manifest]:
    """Return the variables of a container; what is secret only by reference."""
    plain = {"SSD_TERMINATION_LOG": TERMINATION_LOG, "HOME": "/tmp"} | placement.environment
    variables: list[Manifest] = [{"name": name, "value": value} for name, value in plain.items()]
    if secret := placement.store_secret:
        for name, key in secret.keys.items():
            reference = {"name": secret.name, "key": key}
            variables.append({"name": name, "valueFrom": {"secretKeyRef": reference}})
    return variables


def resources(placement: Placement) -> Manifest:
    """Return requests and limits of one pod; Kubernetes wants an accelerator in both."""
    asked = placement.resources
    device = {placement.resource: str(placement.count)} if placement.resource else {}
    limits = filled({"cpu": asked.cpu_limit, "memory": asked.memory_limit})
    requests = filled({"cpu": asked.cpu_request, "memory": asked.memory_request})
    return filled({"limits": limits | device, "requests": requests | device})


def surroundings(placement: Placement) -> Manifest:
    """Return the part of a pod's specification that says where and as whom it runs."""
    return filled(
        {
            "nodeSelector": placement.node_selector,
            "tolerations": [row.model_dump(exclude_none=True) for row in placement.tolerations],
            "securityContext": filled({"runAsUser": placement.user, "runAsGroup": placement.group}),
            "volumes": [
                {"name": name, "emptyDir": directory}
                for name, (_, directory) in _volumes(placement).items()
            ],
        }
    )


def mounts(placement: Placement) -> list[Manifest]:
    """Return where a container sees the volumes of `surroundings`."""
    return [{"name": name, "mountPath": path} for name, (path, _) in _volumes(placement).items()]


def _volumes(placement: Placement) -> Mapping[str, tuple[str, Manifest]]:
    """Return path and emptyDir by name: /tmp, the only place to write, and shared memory."""
    volumes: dict[str, tuple[str, Manifest]] = {"tmp": ("/tmp", {})}
    if placement.shared_memory:
        memory = {"medium": "Memory", "sizeLimit": placement.shared_memory}
        volumes["shared-memory"] = ("/dev/shm", memory)
    return volumes
