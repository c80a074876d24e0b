"""The steps and pipelines by name, and how a pipeline is built and compiled.

It does not import kfp, which takes seconds; a test compares it with the pipelines.
"""

import importlib
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

from ssd_core.errors import UsageError, unknown_name
from ssd_core.logs import logger
from ssd_core.store.local import write_file

if TYPE_CHECKING:
    from pipelines.placement import Placement


@dataclass(frozen=True, slots=True)
class StepInfo:
    """Facts about a step that its component does not contain."""

    title: str
    """Name on the pages of Kubeflow."""
    room: Literal["tools", "convert", "framework", "device", "all_devices", "launcher"] = "tools"
    """Image and resources of the placement; a `device` step has one accelerator of the pod, a
    `framework` step the same image without one."""
    artifact: str = ""
    """Name of the input through which other steps read its output."""
    stage: str = ""
    """Stage that its record names, if the step has another name."""


STEPS = {
    "fetch_model": StepInfo("Fetch model", artifact="model"),
    "resolve_config": StepInfo("Resolve configuration"),
    "convert_share": StepInfo("Convert a share of the shards", "convert"),
    "convert": StepInfo("Convert to shards", "convert", artifact="dataset"),
    "train": StepInfo("Train", "all_devices", artifact="model"),
    "train_distributed": StepInfo("Train", "launcher", artifact="model", stage="train"),
    "evaluate": StepInfo("Evaluate accuracy", "device", artifact="evaluation"),
    "benchmark": StepInfo("Benchmark speed", "device", artifact="speed"),
    "report": StepInfo("Report"),
    "publish": StepInfo("Publish"),
    "export": StepInfo("Export", "framework"),
}


def step_name(task: str) -> str:
    """Return the name of a step by that of its task in kfp, which writes dashes."""
    return task.replace("-", "_")


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineInfo:
    """Parameters of a pipeline."""

    required: tuple[str, ...]
    """Those without a default; all pipelines have `data_root`."""
    optional: tuple[str, ...]

    @property
    def trains(self) -> bool:
        """Whether the pipeline trains a model."""
        return "recipe" in self.required


PIPELINES = {
    "training": PipelineInfo(
        required=("dataset", "recipe", "data_root"),
        optional=("overrides", "model_name", "model_version", "export_format"),
    ),
    "evaluation": PipelineInfo(
        required=("model", "dataset", "data_root"),
        optional=("overrides",),
    ),
    "benchmark": PipelineInfo(
        required=("model", "series", "data_root"),
        optional=("overrides",),
    ),
}


def check_pipeline(name: str) -> None:
    """Raise UsageError unless a pipeline has this name."""
    if name not in PIPELINES:
        raise unknown_name("pipeline", name, PIPELINES)


def build(pipeline: str, placement: "Placement", *, nodes: int = 1) -> Any:
    """Return a pipeline, a component of kfp, for one placement.

    Args:
        pipeline: a name of PIPELINES.
        placement: where its steps run.
        nodes: machines that train together.

    Raises:
        UsageError: an unknown pipeline, or the placement cannot train on several nodes.
    """
    check_pipeline(pipeline)
    module = importlib.import_module(f"pipelines.{pipeline}")
    for limit in placement.limits:
        logger.warning("%s", limit)
    if not PIPELINES[pipeline].trains:
        return module.build(placement)
    if nodes > 1 and placement.job is None:
        raise UsageError(
            "the placement cannot train on several nodes: it has no `job: {kind: ...}`"
        )
    return module.build(placement, nodes=nodes)


def write_package(pipeline: str, placement: "Placement", path: Path, *, nodes: int = 1) -> None:
    """Compile a pipeline to YAML for Kubeflow Pipelines; equal arguments give equal bytes."""
    from kfp.compiler import Compiler

    built = build(pipeline, placement, nodes=nodes)
    with TemporaryDirectory() as folder:
        draft_path = Path(folder) / "pipeline.yaml"  # the compiler requires the suffix
        Compiler().compile(built, str(draft_path))
        write_file(path, draft_path.read_bytes())
