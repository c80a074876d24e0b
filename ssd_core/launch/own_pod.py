"""Where the launcher itself runs: its cluster, its namespace, its pod."""

import os
from collections.abc import Mapping
from pathlib import Path

import yaml
from kubernetes import client, config

from ssd_core.errors import UsageError
from ssd_core.launch.job import Manifest
from ssd_core.logs import logger

_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


def connect() -> tuple[client.Configuration, str]:
    """Return how to reach the cluster, and the namespace to work in.

    Inside a pod that is the pod's own; elsewhere KUBECONFIG or ~/.kube/config says it.

    Raises:
        UsageError: neither is there.
    """
    configuration = client.Configuration()
    if "KUBERNETES_SERVICE_HOST" in os.environ and _NAMESPACE_FILE.is_file():
        config.load_incluster_config(client_configuration=configuration)
        return configuration, _NAMESPACE_FILE.read_text().strip()
    path = os.environ.get("KUBECONFIG")
    try:
        config.load_kube_config(path, client_configuration=configuration)
        _, active = config.list_kube_config_contexts(path)
    except (config.ConfigException, OSError, TypeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise UsageError(
            f"no cluster to launch in: this is no pod, and the kubeconfig says: {reason}"
        ) from None
    return configuration, active["context"].get("namespace", "default")


def owner_references(environment: Mapping[str, str] = os.environ) -> list[Manifest]:
    """Return the launcher's own pod as an owner: when it is removed, so is what it owns.

    Kubeflow Pipelines tells its pods who they are (KFP_POD_NAME, KFP_POD_UID).
    """
    name, uid = environment.get("KFP_POD_NAME"), environment.get("KFP_POD_UID")
    if not name or not uid:
        logger.warning("not a pod of Kubeflow Pipelines: nothing will end the job but its own end")
        return []
    return [{"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid}]
