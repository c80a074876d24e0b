"""Images in, detections out."""

from collections.abc import Sequence

import mindspore as ms
from mindspore import Tensor

from ssd_core.backends.mindspore.devices import Device
from ssd_core.backends.mindspore.model import Ssd
from ssd_core.config import ModelConfig, PostprocessSpec
from ssd_core.detection.anchors import generate_anchors
from ssd_core.detection.boxes import BoxCoder
from ssd_core.detection.postprocess import lowest_margin, select_detections
from ssd_core.structures import Detections, ImageArray


class MindSporeDetector:
    """A network with its post-processing; its weights may change between two calls."""

    def __init__(
        self, model: Ssd, config: ModelConfig, postprocess: PostprocessSpec, *, device: Device
    ) -> None:
        self.config = config
        self._model, self._postprocess, self._device = model, postprocess, device
        self._anchors = generate_anchors(config.anchors, config.image_size)
        self._coder = BoxCoder(config.variances)
        self._lowest_margin = lowest_margin(postprocess)

    def preprocess(self, images: ImageArray) -> Tensor:
        """Move [B, S, S, 3] RGB uint8 to the device; the graph of the network normalises it."""
        with self._device.explain_memory():
            return Tensor(images)

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits [B, A, K + 1] and offsets [B, A, 4] on the device.

        A new number of images per batch compiles a new graph.
        """
        self._model.set_train(False)
        with self._device.explain_memory():
            cls_logits, bbox_regression = self._model(inputs)
        return cls_logits, bbox_regression

    def postprocess(
        self, outputs: tuple[Tensor, Tensor], sizes: Sequence[tuple[int, int]]
    ) -> list[Detections]:
        """Turn raw outputs into detections, for original images of `sizes` (width, height).

        One maximum per anchor rejects most anchors, exactly, before any score is computed.
        """
        cls_logits, bbox_regression = (output.asnumpy() for output in outputs)
        margins = cls_logits[..., 1:].max(axis=-1)
        if self._postprocess.scores == "softmax":
            margins -= cls_logits[..., 0]
        return [
            select_detections(
                cls_logits[image, rows],
                bbox_regression[image, rows],
                self._anchors[rows],
                coder=self._coder,
                spec=self._postprocess,
                size=size,
            )
            for image, (size, rows) in enumerate(
                zip(sizes, margins > self._lowest_margin, strict=True)
            )
        ]

    def synchronize(self) -> None:
        """Wait until the device has finished all work; on the CPU it has."""
        if self._device.type != "cpu":
            ms.runtime.synchronize()

    def detect(self, images: ImageArray, sizes: Sequence[tuple[int, int]]) -> list[Detections]:
        """Return the detections of [B, S, S, 3] RGB uint8 images; `sizes` as in `postprocess`."""
        return self.postprocess(self.forward(self.preprocess(images)), sizes)
