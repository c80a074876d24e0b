"""Where the steps of a pipeline run: image, accelerator, nodes, memory; fixed at compile time."""

import re
from pathlib import Path
from typing import Any, Literal

import yaml
from kfp import dsl, kubernetes
from pydantic import Field, field_validator

from components import images
from ssd_core import __version__
from ssd_core.config import DeviceName, FrameworkName, Section, parse_section
from ssd_core.errors import UsageError, unknown_name

PLACEMENTS_PATH = Path(__file__).with_name("placements.yaml")

_PINNED_IMAGE = re.compile(r".*(:(?!latest$)[\w.-]+|@sha256:[0-9a-f]{64})")


class Toleration(Section):
    """A taint of nodes that the pods accept, in the words of Kubernetes."""

    key: str
    operator: Literal["Exists", "Equal"] = "Equal"
    value: str | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None


class Placement(Section):
    """Surroundings of the steps: one row of placements.yaml."""

    framework: FrameworkName
    device: DeviceName
    image: str
    """Image of the steps that need the framework, with a version or a digest."""
    tools_image: str = images.TOOLS
    """Image of the other steps."""
    resource: str | None = None
    """Name of the accelerator as Kubernetes counts it; None for none."""
    count: int = Field(default=1, gt=0)
    """Accelerators of one pod."""
    node_selector: dict[str, str] = {}
    """Labels that a node must have."""
    tolerations: tuple[Toleration, ...] = ()
    shared_memory: str | None = None
    """Size of /dev/shm, for example 8Gi; None keeps the 64 MB of a container."""

    @field_validator("image", "tools_image")
    @classmethod
    def _is_pinned(cls, image: str) -> str:
        image = image.replace("{version}", __version__)
        if not _PINNED_IMAGE.fullmatch(image):
            raise ValueError("an image needs a version or a digest, and 'latest' is none")
        return image


def load_placement(name: str, path: Path | None = None) -> Placement:
    """Return the placement called `name`.

    Args:
        name: a key of placements.yaml or of the user's file.
        path: the user's file; its rows come before ours.

    Raises:
        UsageError: there is none, or the user's file is not what it should be.
    """
    rows = _read_rows(PLACEMENTS_PATH) | (_read_rows(path) if path else {})
    if name not in rows:
        raise unknown_name("placement", name, rows)
    return parse_section(Placement, rows[name], name)


def apply_tools(placement: Placement, task: dsl.PipelineTask) -> dsl.PipelineTask:
    """Place a step that needs no framework, and return it."""
    task.set_container_image(placement.tools_image)
    # The launcher of Kubeflow Pipelines writes to /tmp, which a read-only root would refuse.
    return kubernetes.empty_dir_mount(task, volume_name="tmp", mount_path="/tmp")


def apply_device(placement: Placement, task: dsl.PipelineTask) -> dsl.PipelineTask:
    """Place a step that runs a framework, which needs all of the placement, and return it."""
    apply_tools(placement, task)
    task.set_container_image(placement.image)
    if placement.resource:
        task.set_accelerator_type(placement.resource)
        # A constant: given as a parameter of type int it would silently be no accelerator at all.
        task.set_accelerator_limit(placement.count)
    for key, value in placement.node_selector.items():
        kubernetes.add_node_selector(task, key, value)
    for toleration in placement.tolerations:
        kubernetes.add_toleration(task, **toleration.model_dump())
    if placement.shared_memory:
        kubernetes.empty_dir_mount(
            task,
            volume_name="shared-memory",
            mount_path="/dev/shm",
            medium="Memory",
            size_limit=placement.shared_memory,
        )
    return task


def _read_rows(path: Path) -> dict[str, Any]:
    try:
        rows = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise UsageError(f"{path}: cannot read the placements: {reason}") from None
    if not isinstance(rows, dict) or not all(isinstance(row, dict) for row in rows.values()):
        raise UsageError(f"{path}: placements are a mapping of names to rows")
    return rows
