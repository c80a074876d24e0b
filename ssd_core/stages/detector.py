"""A model directory opened on a device, the input of evaluate, benchmark and predict."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import get_args

from ssd_core.backends import open_backend
from ssd_core.backends.base import Detector, DeviceInfo
from ssd_core.backends.exported import (
    ExportedDetector,
    is_exported,
    open_file,
    read_certificate,
)
from ssd_core.backends.ranks import ALONE, Ranks
from ssd_core.config import (
    FrameworkName,
    PostprocessOverrides,
    PostprocessSpec,
    Precision,
    RuntimeName,
)
from ssd_core.errors import DataError, UsageError, located
from ssd_core.model_dir import WEIGHTS_FILE, ModelDescription, read_description, read_model
from ssd_core.stages.frame import Input
from ssd_core.store import Location
from ssd_core.structures import ClassInfo

_IMPORT_ADVICE = ", or name the classes of an imported model with ssd import-weights --classes"


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedModel:
    """A detector and its origin."""

    detector: Detector
    description: ModelDescription = field(repr=False)
    classes: tuple[ClassInfo, ...]
    device: DeviceInfo
    postprocess: PostprocessSpec
    """Its own, with the values that override it."""
    source: Input
    """The model, as the invocation of the stage names it."""


def open_model(
    model_dir: Location,
    postprocess: PostprocessOverrides,
    *,
    data_classes: Sequence[ClassInfo] | None = None,
    framework: str,
    device: str,
    ranks: Ranks = ALONE,
) -> OpenedModel:
    """Read a model directory, or an exported ONNX file, and build its detector.

    The files are checked before a framework is imported, which takes seconds.

    Raises:
        DataError: the model is not complete, or its classes are not `data_classes`.
    """
    if is_exported(model_dir):
        return _open_exported(model_dir, postprocess, data_classes, framework, device)
    model = read_model(model_dir)
    if data_classes is not None:
        check_classes(model.classes, data_classes)
    network, training = model.description.model, model.description.recipe.train
    # The device decides about models of half precision; single precision was a decision.
    precision: Precision = "fp32" if training.precision == "fp32" else "auto"
    backend = open_backend(framework, device, precision, ranks)
    applied = postprocess.apply(network.postprocess)
    with located(str(model_dir)):
        detector = backend.detector(network, len(model.classes), model.weights, applied)
    return OpenedModel(
        detector=detector,
        description=model.description,
        classes=model.classes,
        device=backend.info,
        postprocess=applied,
        source=Input(model_dir.uri, model.description.file(WEIGHTS_FILE).sha256),
    )


def _open_exported(
    file: Location,
    postprocess: PostprocessOverrides,
    data_classes: Sequence[ClassInfo] | None,
    runtime: str,
    device: str,
) -> OpenedModel:
    certificate = read_certificate(file)
    classes = certificate.class_list()
    if data_classes is not None:
        check_classes(classes, data_classes)
    network = certificate.description.model
    content = certificate.file.read(file.parent)
    applied = postprocess.apply(network.postprocess)
    run, info = open_file(content, certificate.precision, runtime, device)
    return OpenedModel(
        detector=ExportedDetector(run, network, applied),
        description=certificate.description,
        classes=classes,
        device=info,
        postprocess=applied,
        source=Input(file.uri, certificate.file.sha256),
    )


def describe_model(model: Location) -> ModelDescription:
    """Return the description of a model directory, or of the model behind an exported file."""
    return read_certificate(model).description if is_exported(model) else read_description(model)


def choose_framework(model: Location, framework: str | None) -> str:
    """Return the framework or runtime that computes a model: the given one, else the usual one.

    Raises:
        UsageError: it does not compute such a model.
    """
    known, kind = get_args(FrameworkName), "a model"
    if is_exported(model):
        known, kind = get_args(RuntimeName), "an exported file"
    if framework is None:
        return str(known[0])
    if framework not in known:
        raise UsageError(
            f"'{framework}' does not compute {kind} ({model}); use --framework {' or '.join(known)}"
        )
    return framework


def check_classes(of_model: Sequence[ClassInfo], of_data: Sequence[ClassInfo]) -> None:
    """Check that model and data set have the same class names in the same order.

    Raises:
        DataError: the names differ; the message names the first difference.
    """
    ours, theirs = ([info.name for info in infos] for infos in (of_model, of_data))
    if ours == theirs:
        return
    difference = f"the model has {len(ours)} and the data set {len(theirs)}"
    for label, (name, other) in enumerate(zip(ours, theirs, strict=False), start=1):
        if name != other:
            difference = f"label {label} is '{name}' in the model and '{other}' in the data set"
            break
    others = "" if set(ours) & set(theirs) else _IMPORT_ADVICE
    raise DataError(
        f"the classes differ: {difference}; convert the data set with --classes "
        f"{shlex.quote(','.join(ours))}{others}"
    )
