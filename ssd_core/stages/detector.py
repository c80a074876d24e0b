"""A model directory opened on a device, the input of evaluate, benchmark and predict."""

from dataclasses import dataclass

from ssd_core.backends import open_backend
from ssd_core.backends.base import Detector, DeviceInfo
from ssd_core.config import PostprocessOverrides
from ssd_core.model_dir import WEIGHTS_FILE, ModelDescription, read_model
from ssd_core.stages.frame import Input
from ssd_core.store import Location
from ssd_core.structures import ClassInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedModel:
    """A detector and its origin."""

    detector: Detector
    description: ModelDescription
    classes: tuple[ClassInfo, ...]
    device: DeviceInfo
    source: Input
    """The model, as the invocation of the stage names it."""


def open_model(
    model_dir: Location, postprocess: PostprocessOverrides, *, framework: str, device: str
) -> OpenedModel:
    """Read a model directory and build its detector."""
    model = read_model(model_dir)
    backend = open_backend(framework, device)
    network = model.description.model
    return OpenedModel(
        detector=backend.detector(
            network, len(model.classes), model.weights, postprocess.apply(network.postprocess)
        ),
        description=model.description,
        classes=model.classes,
        device=backend.info,
        source=Input(model_dir.uri, model.description.file(WEIGHTS_FILE).sha256),
    )
