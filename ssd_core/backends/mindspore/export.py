"""The files that MindSpore writes for other programs."""

from pathlib import Path

import mindspore as ms
from mindspore import Tensor, nn, ops

from ssd_core.backends.base import Exporter
from ssd_core.backends.formats import INPUT, OUTPUTS
from ssd_core.backends.mindspore.devices import open_device
from ssd_core.backends.mindspore.model import Ssd, load_network
from ssd_core.backends.onnx_file import check_onnx, run_onnx
from ssd_core.config import ModelConfig
from ssd_core.detection.anchors import generate_anchors
from ssd_core.detection.boxes import MAX_LOG_SCALE
from ssd_core.errors import UsageError
from ssd_core.layouts.mindspore import write_checkpoint
from ssd_core.model_dir import Model
from ssd_core.structures import FloatArray, ImageArray


class Program(nn.Cell):
    """A network between `Detector.preprocess` and NMS, with the arithmetic of `decode_outputs`."""

    def __init__(self, network: Ssd, config: ModelConfig) -> None:
        super().__init__()
        self.network = network
        anchors = generate_anchors(config.anchors, config.image_size)
        self._centres, self._sides = Tensor(anchors[:, :2]), Tensor(anchors[:, 2:])
        self._centre_variance, self._size_variance = config.variances
        self._is_softmax = config.postprocess.scores == "softmax"

    def construct(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return boxes [B, A, 4] and scores [B, A, K] of [B, S, S, 3] RGB 0..255."""
        logits, offsets = self.network(images)
        centres = self._centres + offsets[..., :2] * self._centre_variance * self._sides
        scales = ops.minimum(offsets[..., 2:] * self._size_variance, MAX_LOG_SCALE)
        half = ops.exp(scales) * self._sides / 2
        boxes = ops.clamp(ops.cat((centres - half, centres + half), -1), 0.0, 1.0)
        scores = ops.softmax(logits, -1) if self._is_softmax else ops.sigmoid(logits)
        return boxes, scores[..., 1:]


def _build(model: Model) -> Program:
    config = model.description.model
    network = load_network(config, len(model.classes), model.weights)
    return Program(network, config).set_train(False)


def _shape(model: Model, num_images: int | None) -> list[int | None]:
    side = model.description.model.image_size
    return [num_images, side, side, 3]


def _write_onnx(model: Model, path: Path) -> dict[str, int]:
    """Write an ONNX file; MindSpore alone fixes the number of images and names no output."""
    import onnx

    open_device("cpu")
    ms.onnx.export(
        _build(model),
        ops.zeros(_shape(model, 1), ms.uint8),
        file_name=str(path),
        input_names=[INPUT],
        dynamic_axes={INPUT: {0: "batch"}},
    )
    content = onnx.load(path)
    for name, output in zip(OUTPUTS, content.graph.output, strict=True):
        content.graph.node.append(
            onnx.NodeProto(op_type="Identity", input=[output.name], output=[name])
        )
        output.name = name
        output.type.tensor_type.shape.dim[0].dim_param = "batch"
    onnx.save(content, path)
    return check_onnx(path)


def _write_mindir(model: Model, path: Path) -> dict[str, int]:
    open_device("cpu")
    images = Tensor(shape=_shape(model, None), dtype=ms.uint8)
    ms.export(_build(model), images, file_name=str(path), file_format="MINDIR")
    return {}


def _run_mindir(path: Path, images: ImageArray) -> tuple[FloatArray, FloatArray]:
    boxes, scores = nn.GraphCell(ms.load(str(path)))(Tensor(images))
    return boxes.asnumpy(), scores.asnumpy()


def _write_air(model: Model, path: Path) -> dict[str, int]:
    """Write AIR for one image at a time; written from the documentation, not yet run on Ascend."""
    if not ms.hal.is_available("Ascend"):
        raise UsageError(
            "format 'air' is written on Ascend only, which MindSpore does not find here; use "
            "--format mindir, which MindSpore Lite converts"
        )
    open_device("auto")
    images = ops.zeros(_shape(model, 1), ms.uint8)
    ms.export(_build(model), images, file_name=str(path), file_format="AIR")
    return {}


EXPORTERS = {
    "onnx": Exporter(write=_write_onnx, run=run_onnx),
    "mindir": Exporter(write=_write_mindir, run=_run_mindir),
    "air": Exporter(write=_write_air, run=None),
    "ckpt": Exporter(write=write_checkpoint, run=None),
}
