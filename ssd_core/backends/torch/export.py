"""The files that PyTorch writes for other programs."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from ssd_core.backends.base import Exporter
from ssd_core.backends.formats import INPUT, OUTPUTS
from ssd_core.backends.onnx_file import check_onnx, run_onnx
from ssd_core.backends.torch.model import Ssd, load_network
from ssd_core.config import ModelConfig
from ssd_core.detection.anchors import generate_anchors
from ssd_core.detection.boxes import MAX_LOG_SCALE
from ssd_core.layouts.mindspore import write_checkpoint
from ssd_core.model_dir import Model
from ssd_core.structures import FloatArray, ImageArray

_OPSET = 18
"""Of ONNX: the one that the exporter of torch writes without converting."""
# torch warns of each operator of torchvision, which no network here has.
logging.getLogger("torch.onnx._internal.exporter._registration").addFilter(
    lambda record: "torchvision" not in record.getMessage()
)


class Program(nn.Module):
    """A network between `Detector.preprocess` and NMS, with the arithmetic of `decode_outputs`."""

    centres: Tensor
    sides: Tensor

    def __init__(self, network: Ssd, config: ModelConfig) -> None:
        super().__init__()
        self.network = network
        self._config = config
        anchors = torch.from_numpy(generate_anchors(config.anchors, config.image_size))
        self.register_buffer("centres", anchors[:, :2])
        self.register_buffer("sides", anchors[:, 2:])

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return boxes [B, A, 4] and scores [B, A, K] of [B, S, S, 3] RGB 0..255."""
        logits, offsets = self.network(self.network.normalize(images))
        centre_variance, size_variance = self._config.variances
        centres = self.centres + offsets[..., :2] * centre_variance * self.sides
        scales = (offsets[..., 2:] * size_variance).clamp(max=MAX_LOG_SCALE)
        half = scales.exp() * self.sides / 2
        boxes = torch.cat([centres - half, centres + half], dim=-1).clamp(0, 1)
        is_softmax = self._config.postprocess.scores == "softmax"
        scores = logits.softmax(dim=-1) if is_softmax else logits.sigmoid()
        return boxes, scores[..., 1:]


def _build(model: Model) -> tuple[Program, Tensor]:
    """Return the program of a model, and an example of its input."""
    config = model.description.model
    network = load_network(config, len(model.classes), model.weights)
    program = Program(network, config).eval().requires_grad_(False)
    # Exporters take a batch of one for a constant.
    return program, torch.zeros((2, config.image_size, config.image_size, 3), dtype=torch.uint8)


def _write_onnx(model: Model, path: Path) -> dict[str, int]:
    program, images = _build(model)
    exported = torch.onnx.export(
        program,
        (images,),
        opset_version=_OPSET,
        input_names=[INPUT],
        output_names=OUTPUTS,
        dynamic_shapes=({0: "batch"},),
        verbose=False,
    )
    assert exported is not None  # as for every call without a path
    for node in exported.model.graph:
        node.metadata_props.clear()  # names source files of this machine
    exported.save(path)
    return check_onnx(path)


def _write_torchscript(model: Model, path: Path) -> dict[str, int]:
    with _without_advice():
        # Without its check: the file is compared with the model afterwards.
        traced = torch.jit.trace(*_build(model), check_trace=False)  # type: ignore[no-untyped-call]
    traced.save(path)
    return {}


def _run_torchscript(path: Path, images: ImageArray) -> tuple[FloatArray, FloatArray]:
    with _without_advice():
        program = torch.jit.load(path)  # type: ignore[no-untyped-call]
    boxes, scores = program(torch.from_numpy(images))
    return boxes.numpy(), scores.numpy()


@contextmanager
def _without_advice() -> Iterator[None]:
    """Silence advice: to use torch.export, which servers do not load, or other image sizes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", torch.jit._trace.TracerWarning)
        yield


EXPORTERS = {
    "onnx": Exporter(write=_write_onnx, run=run_onnx),
    "torchscript": Exporter(write=_write_torchscript, run=_run_torchscript),
    "ckpt": Exporter(write=write_checkpoint, run=None),
}
