"""The seam between frameworks: what a backend offers to the loop and to the stages."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ssd_core.backends.ranks import RankEnv, Ranks
from ssd_core.backends.weights import ArrayTypes
from ssd_core.config import ModelConfig, PostprocessSpec, Precision, TrainConfig
from ssd_core.errors import UsageError, unlisted_name
from ssd_core.model_dir import Model
from ssd_core.structures import Array, Batch, Detections, FloatArray, ImageArray

ReadLosses = Callable[[], dict[str, float]]
"""Waits for the device; returns `loss`, `loss_cls`, `loss_bbox`, `positives` per image, and
`gradient_norm` before it is clipped, of gradients without the `loss_scale` of the step."""


def name_losses(figures: Sequence[float], batch_size: int) -> dict[str, float]:
    """Return what `ReadLosses` does, from the sums of a step, its divisor and its last figures."""
    cls, bbox, divisor, positives, gradient_norm, loss_scale = figures
    divisor = max(divisor, 1)
    return {
        "loss": (cls + bbox) / divisor,
        "loss_cls": cls / divisor,
        "loss_bbox": bbox / divisor,
        "positives": positives / batch_size,
        "gradient_norm": gradient_norm,
        "loss_scale": loss_scale,
    }


class Detector(Protocol):
    """Images in, detections out, in steps that can be timed one by one."""

    config: ModelConfig
    """The network; `data/batches/resize.py` scales images to its input."""

    def preprocess(self, images: ImageArray) -> Any:
        """Move [B, S, S, 3] RGB uint8 to the device and normalise it."""

    def forward(self, inputs: Any) -> Any:
        """Run the network; the result stays on the device."""

    def postprocess(self, outputs: Any, sizes: Sequence[tuple[int, int]]) -> list[Detections]:
        """Turn raw outputs into detections, for original images of `sizes` (width, height)."""

    def synchronize(self) -> None:
        """Wait until the device has finished all work."""

    def detect(self, images: ImageArray, sizes: Sequence[tuple[int, int]]) -> list[Detections]:
        """Compose `preprocess`, `forward` and `postprocess`."""


class Learner(Protocol):
    """A network under training with its optimizer."""

    def step(self, batch: Batch, learning_rate: float) -> ReadLosses:
        """Update the weights once; UsageError if the device lacks the memory for the batch."""

    def measure(self, batch: Batch) -> list[float]:
        """Return the sums of the losses of a batch, without an update and without other ranks.

        They are those of classes and boxes, the divisor of both, and the number of positives.
        """

    def state(self) -> dict[str, Array]:
        """Return copies of all arrays that the next step depends on.

        `docs/file-formats.md` lists their names.
        """

    def load_state(self, state: Mapping[str, Array]) -> None:
        """Restore the arrays that `state` returned; DataError if a name, shape or type differs."""

    def weights(self) -> dict[str, Array]:
        """Return copies of the network's arrays alone, as a model directory keeps them."""

    def detector(self, postprocess: PostprocessSpec) -> Detector:
        """Return a detector that shares the current weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceInfo:
    """Where a run computes, for logs, reports and the history of a benchmark."""

    framework: str
    """Name and version, for example `torch 2.14.0`."""
    device: str
    """`cpu`, `cuda` or `npu`."""
    name: str
    """The hardware's own name."""
    precision: str
    """`fp32`, `bf16` or `fp16`."""
    memory: int | None = None
    """Bytes of the device's own memory; None for a processor."""


class Backend(Protocol):
    """One framework on one device."""

    info: DeviceInfo

    def learner(self, config: TrainConfig, num_classes: int) -> Learner:
        """Build a freshly initialised network for `num_classes` classes without background."""

    def peak_memory(self) -> int | None:
        """Return the most bytes that tensors have taken on the device; None on a processor."""

    def arrays(self, model: ModelConfig, num_classes: int) -> ArrayTypes:
        """Describe the arrays of a network, without the memory that it would take."""

    def detector(
        self,
        model: ModelConfig,
        num_classes: int,
        weights: Mapping[str, Array],
        postprocess: PostprocessSpec,
    ) -> Detector:
        """Build a detector from the arrays of `Learner.weights`; DataError if they do not fit."""


def unknown_device(name: str, known: Iterable[str]) -> UsageError:
    """Return the error for an unknown device; a suggestion could take a GPU for a CPU."""
    return unlisted_name("device", name, ("auto", *known))


def missing_device(name: str, reason: str) -> UsageError:
    """Return the error for a device that this machine or framework lacks."""
    return UsageError(f"device '{name}' is not available: {reason}; use --device cpu or auto")


def exhausted_device(hardware: str) -> UsageError:
    """Return the error for a device whose memory is too small."""
    return UsageError(
        f"{hardware} does not have enough memory for this batch; choose a smaller batch_size or "
        "image_size, or share the batch between more devices"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Exporter:
    """How a framework writes a format of `FORMATS`, and computes with a file of it."""

    write: Callable[[Model, Path], Mapping[str, str | int]]
    """Returns facts about the file, for its certificate."""
    run: Callable[[Path, ImageArray], tuple[FloatArray, FloatArray]] | None
    """From [B, S, S, 3] RGB to boxes [B, A, 4] in [0, 1] and scores [B, A, K], on the processor;
    None if the file is not a program, or one for another device."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Framework:
    """One framework; `ssd_core/backends/<name>/backend.py` defines it as FRAMEWORK.

    The folder, the package on its index and our optional dependency all have the same name.
    """

    open: Callable[[str, Precision, Ranks], Backend]
    """Opens a device; see `open_backend`."""
    join: Callable[[RankEnv], AbstractContextManager[Ranks]]
    """Meets the other ranks; see `open_ranks`."""
    exporters: Mapping[str, Exporter]
    """By format."""
