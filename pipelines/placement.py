"""Where the steps of a pipeline run: image, accelerator, nodes, memory; fixed at compile time."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from kfp import dsl, kubernetes
from pydantic import AfterValidator, Field

from components import images
from pipelines.catalogue import STEPS, step_name
from ssd_core import __version__
from ssd_core.config import DeviceName, FrameworkName, parse_section
from ssd_core.config.yaml_text import parse_yaml
from ssd_core.errors import DataError, UsageError, unknown_name
from ssd_core.launch.job import STEP_LABELS, JobSpec, PodPlacement, Resources, StoreSecret

PLACEMENTS_PATH = Path(__file__).with_name("placements.yaml")

_PINNED_IMAGE = re.compile(r".*(:(?!latest$)[\w.-]+|@sha256:[0-9a-f]{64})")
_SECRET_NAME = re.compile(r"SECRET|PASSWORD|TOKEN|ACCESS_KEY")
_PASSWORD_IN_URL = re.compile(r"://[^/\s]*@")


def _pin(image: str) -> str:
    image = image.replace("{version}", __version__)
    if not _PINNED_IMAGE.fullmatch(image):
        raise ValueError("an image needs a version or a digest other than 'latest'")
    return image


Image = Annotated[str, AfterValidator(_pin)]


class Placement(PodPlacement):
    """One row of placements.yaml; the fields of a pod are inherited."""

    framework: FrameworkName
    device: DeviceName
    image: Image
    """Image of the steps that need the framework, with a version or a digest."""
    tools_image: Image = images.TOOLS
    """Image of the other steps."""
    convert_image: Image | None = None
    """Image of the conversion, which needs MindSpore to write MindRecord; None for tools_image."""
    convert_pods: Annotated[int, Field(ge=1)] = 1
    """Pods that write the shards of a data set beside each other."""
    launcher_image: Image = images.LAUNCHER
    """Image of the step that starts and follows a job on several nodes."""
    tools_resources: Resources = Resources(cpu_request="500m", memory_request="1Gi")
    """CPU and memory of the steps without a framework."""
    store_secret: StoreSecret | None = StoreSecret()
    """Credentials of the store; None where the pods have their own."""
    job: JobSpec | None = None
    """The kind of job that trains on several nodes; None for one node only."""
    step_scheduler: Literal["volcano"] | None = None
    """Scheduler of all workflows, if an administrator has changed it: a step cannot choose its own.
    Volcano writes the devices of a pod into an annotation, and needs the labels of `job`."""
    environment: dict[str, str] = {"AWS_ENDPOINT_URL": "http://seaweedfs.kubeflow:9000"}
    """Environment variables of every step; the default is the store of Kubeflow Pipelines."""

    @property
    def limits(self) -> list[str]:
        """The limits of this placement that a run would meet only later."""
        return ["the code for Ascend NPUs has not run on one"] if self.device == "npu" else []


def load_placement(name: str, path: Path | None = None) -> Placement:
    """Return the placement called `name`.

    Args:
        name: a key of placements.yaml or of the user's file.
        path: the user's file; its rows take precedence.

    Raises:
        UsageError: an unknown name, or the user's file is malformed.
    """
    rows = _read_rows(PLACEMENTS_PATH) | (_read_rows(path) if path else {})
    if name not in rows:
        raise unknown_name("placement", name, rows)
    _check_environment(rows[name].get("environment"), name)
    return parse_section(Placement, rows[name], name)


def place(placement: Placement, task: dsl.PipelineTask) -> None:
    """Give a step its title, and the image and resources of its room in the catalogue."""
    step = STEPS[step_name(task.component_spec.name)]
    image = {
        "tools": placement.tools_image,
        "convert": placement.convert_image or placement.tools_image,
        "framework": placement.image,
        "device": placement.image,
        "all_devices": placement.image,
        "launcher": placement.launcher_image,
    }
    _apply_common(placement, task, image[step.room])
    if step.room in {"device", "all_devices"}:
        _apply_device(placement, task, placement.count if step.room == "all_devices" else 1)
    else:
        _apply_resources(placement.tools_resources, task)
        kubernetes.set_security_context(task, run_as_non_root=True)
    task.set_display_name(step.title)


def _apply_device(placement: Placement, task: dsl.PipelineTask, count: int) -> None:
    _apply_resources(placement.resources, task)
    if placement.resource:
        task.set_accelerator_type(placement.resource)
        # A constant: as a parameter of type int it would silently be ignored.
        task.set_accelerator_limit(count)
        if placement.step_scheduler == "volcano":
            devices = f"metadata.annotations['{placement.resource}']"
            kubernetes.use_field_path_as_env(task, "ASCEND_VISIBLE_DEVICES", devices)
            for label, word in (placement.job.labels if placement.job else {}).items():
                kubernetes.add_pod_label(task, label, word)
    for key, value in placement.node_selector.items():
        kubernetes.add_node_selector(task, key, value)
    for toleration in placement.tolerations:
        kubernetes.add_toleration(task, **toleration.model_dump())
    kubernetes.set_security_context(
        task,
        run_as_user=placement.user,
        run_as_group=placement.group,
        run_as_non_root=placement.user != 0,
    )
    if placement.shared_memory:
        kubernetes.empty_dir_mount(
            task,
            volume_name="shared-memory",
            mount_path="/dev/shm",
            medium="Memory",
            size_limit=placement.shared_memory,
        )


def _apply_common(placement: Placement, task: dsl.PipelineTask, image: str) -> None:
    """Set the image, the directory for files, and the access to the store."""
    task.set_container_image(image)
    # The store is the cache: a step returns results that exist there. The cache of Kubeflow
    # Pipelines takes neither the device nor the content of the store into account.
    task.set_caching_options(False)
    # The launcher of Kubeflow Pipelines writes to /tmp, which a read-only root would refuse.
    kubernetes.empty_dir_mount(task, volume_name="tmp", mount_path="/tmp")
    for label, word in STEP_LABELS.items():
        kubernetes.add_pod_label(task, label, word)
    for name, value in sorted(placement.environment.items()):
        task.set_env_variable(name, value)
    if secret := placement.store_secret:
        for variable, key in sorted(secret.keys.items()):
            kubernetes.use_secret_as_env(task, secret.name, {key: variable})


def _apply_resources(resources: Resources, task: dsl.PipelineTask) -> None:
    for name, value in resources.model_dump(exclude_none=True).items():
        getattr(task, f"set_{name}")(value)


def _check_environment(environment: object, name: str) -> None:
    """Refuse a secret in plain text, before another message repeats it."""
    for variable, value in environment.items() if isinstance(environment, dict) else ():
        if _SECRET_NAME.search(str(variable)) or _PASSWORD_IN_URL.search(str(value)):
            raise UsageError(
                f"{name}.environment: {variable} belongs in a secret; "
                f"name its key in {name}.store_secret.keys"
            )


def _read_rows(path: Path) -> dict[str, Any]:
    try:
        rows = parse_yaml(path.read_bytes())
    except (OSError, DataError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"{path}: cannot read the placements: {reason}") from None
    if not isinstance(rows, dict) or not all(isinstance(row, dict) for row in rows.values()):
        raise UsageError(f"{path}: placements are a mapping of names to rows")
    return rows
