"""Exported ONNX files as detectors, run by onnxruntime or OpenVINO instead of a framework."""

from collections.abc import Callable, Sequence
from importlib.metadata import version

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from ssd_core.backends.base import DeviceInfo, missing_device
from ssd_core.backends.formats import INPUT, OUTPUTS
from ssd_core.config import ModelConfig, PostprocessSpec, first_problem
from ssd_core.detection.postprocess import select_decoded
from ssd_core.errors import DataError, UsageError, require_package
from ssd_core.model_dir import ModelDescription
from ssd_core.process.processor import count_processors, read_processor_name
from ssd_core.store import Location
from ssd_core.store.known_file import KnownFile
from ssd_core.structures import ClassInfo, Detections, FloatArray, ImageArray

SUFFIX = ".onnx"
Outputs = tuple[FloatArray, FloatArray]
Run = Callable[[ImageArray], Outputs]
"""From [B, S, S, 3] RGB to boxes [B, A, 4] in [0, 1] and scores [B, A, K]."""


class Certificate(BaseModel):
    """The keys of a certificate that a detector needs; docs/export.md lists all."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    file: KnownFile
    description: ModelDescription
    """Of the model, without its files."""
    classes: tuple[str, ...]
    """In label order."""
    category_ids: tuple[int, ...]
    """In label order."""
    precision: str

    @model_validator(mode="after")
    def _check_classes(self) -> "Certificate":
        if not len(self.classes) == len(self.category_ids) == self.description.num_classes:
            raise ValueError(f"expected {self.description.num_classes} classes and category_ids")
        return self

    def class_list(self) -> tuple[ClassInfo, ...]:
        """Return the classes in label order."""
        pairs = zip(self.classes, self.category_ids, strict=True)
        return tuple(
            ClassInfo(label=label, name=name, category_id=category_id)
            for label, (name, category_id) in enumerate(pairs, start=1)
        )


def certificate_name(file_name: str) -> str:
    """Return the name of the certificate beside an exported file."""
    return f"{file_name}.json"


def is_exported(model: Location) -> bool:
    """Return whether the name is that of an exported file, not of a model directory."""
    return model.name.endswith(SUFFIX)


def read_certificate(file: Location) -> Certificate:
    """Read the certificate of an exported file.

    Raises:
        UsageError: the file does not exist.
        DataError: its certificate is missing, damaged, or of a version of this package without all
            keys.
    """
    path = file.parent / certificate_name(file.name)
    try:
        return Certificate.model_validate_json(file.parent.get(path.name))
    except FileNotFoundError:
        if file.parent.head(file.name) is None:
            raise UsageError(f"{file} does not exist; expected a file of 'ssd export'") from None
        problem = f"{path} is missing"
    except ValidationError as error:
        problem = f"{path}: {first_problem(error)}"
    raise DataError(f"{problem}; write both files again with 'ssd export'")


class ExportedDetector:
    """An exported file with the post-processing that it leaves to its reader."""

    def __init__(self, run: Run, config: ModelConfig, postprocess: PostprocessSpec) -> None:
        self.config = config
        self.forward = run
        self._postprocess = postprocess

    def preprocess(self, images: ImageArray) -> ImageArray:
        """Return the images: the file normalises them."""
        return images

    def postprocess(self, outputs: Outputs, sizes: Sequence[tuple[int, int]]) -> list[Detections]:
        """Turn outputs into detections, for original images of `sizes` (width, height)."""
        return [
            select_decoded(boxes, scores, spec=self._postprocess, size=size)
            for boxes, scores, size in zip(*outputs, sizes, strict=True)
        ]

    def synchronize(self) -> None:
        """Return at once: both runtimes wait for their result."""

    def detect(self, images: ImageArray, sizes: Sequence[tuple[int, int]]) -> list[Detections]:
        """Return the detections of [B, S, S, 3] RGB uint8 images; `sizes` as in `postprocess`."""
        return self.postprocess(self.forward(images), sizes)


def load_onnxruntime(content: bytes) -> Run:
    """Load an ONNX file in onnxruntime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = count_processors()  # it would count those of the machine
    providers = ["CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(content, options, providers=providers)

    def run(images: ImageArray) -> Outputs:
        boxes, scores = session.run(OUTPUTS, {INPUT: images})
        return boxes, scores

    return run


def _load_openvino(content: bytes) -> Run:
    """Load an ONNX file in OpenVINO."""
    import openvino

    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": count_processors(),
        # Its own choice may be bf16, for which it crashes on some processors (2026.4, AVX2).
        "INFERENCE_PRECISION_HINT": "f32",
    }
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(content), "CPU", settings)

    def run(images: ImageArray) -> Outputs:
        found = compiled({INPUT: images})
        boxes, scores = (found[name] for name in OUTPUTS)
        return boxes, scores

    return run


RUNTIMES: dict[str, Callable[[bytes], Run]] = {
    "onnxruntime": load_onnxruntime,
    "openvino": _load_openvino,
}
"""By the name of their package; the first one is the default."""


def open_file(content: bytes, precision: str, runtime: str, device: str) -> tuple[Run, DeviceInfo]:
    """Load the content of an exported file, whose network has this precision, on a device.

    Raises:
        UsageError: the runtime is not installed, or the device is not a processor.
    """
    if device not in ("auto", "cpu"):
        raise missing_device(device, f"{runtime} runs exported files on the processor here")
    require_package(runtime)
    info = DeviceInfo(
        framework=f"{runtime} {version(runtime)}",
        device="cpu",
        name=read_processor_name(),
        precision=precision,
    )
    return RUNTIMES[runtime](content), info
