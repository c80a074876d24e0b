"""Images in, detections out."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ssd_core.backends.torch.devices import Device
from ssd_core.backends.torch.model import Ssd
from ssd_core.config import ModelConfig, PostprocessSpec
from ssd_core.detection.anchors import generate_anchors
from ssd_core.detection.boxes import BoxCoder
from ssd_core.detection.postprocess import lowest_margin, select_detections
from ssd_core.structures import Array, Detections, ImageArray


class TorchDetector:
    """A network with its post-processing; its weights may change between two calls."""

    def __init__(
        self,
        model: Ssd,
        config: ModelConfig,
        postprocess: PostprocessSpec,
        *,
        device: Device,
        precision: str,
    ) -> None:
        self.config = config
        self._model, self._postprocess = model, postprocess
        self._device, self._precision = device, precision
        self._anchors = generate_anchors(config.anchors, config.image_size)
        self._coder = BoxCoder(config.variances)
        self._lowest_margin = lowest_margin(postprocess)

    @torch.inference_mode()
    def preprocess(self, images: ImageArray) -> Tensor:
        """Move [B, S, S, 3] RGB uint8 to the device and normalise it to [B, 3, S, S]."""
        with self._device.explain_memory():
            return self._model.normalize(self._device.copy(images))

    @torch.inference_mode()
    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits [B, A, K + 1] and offsets [B, A, 4] on the device."""
        self._model.eval()
        with self._device.explain_memory(), self._device.autocast(self._precision):
            cls_logits, bbox_regression = self._model(inputs)
        return cls_logits.float(), bbox_regression.float()

    @torch.inference_mode()
    def postprocess(
        self, outputs: tuple[Tensor, Tensor], sizes: Sequence[tuple[int, int]]
    ) -> list[Detections]:
        """Turn raw outputs into detections, for original images of `sizes` (width, height).

        One maximum per anchor rejects most anchors on the device, exactly, before any score is
        computed; only the others travel to the host.
        """
        images, anchors, cls_logits, bbox_regression = self._select_candidates(*outputs)
        ends = np.searchsorted(images, np.arange(len(sizes) + 1))
        return [
            select_detections(
                cls_logits[start:stop],
                bbox_regression[start:stop],
                self._anchors[anchors[start:stop]],
                coder=self._coder,
                spec=self._postprocess,
                size=size,
            )
            for start, stop, size in zip(ends, ends[1:], sizes, strict=False)
        ]

    def synchronize(self) -> None:
        """Wait until the device has finished all work."""
        self._device.synchronize()

    def detect(self, images: ImageArray, sizes: Sequence[tuple[int, int]]) -> list[Detections]:
        """Return the detections of [B, S, S, 3] RGB uint8 images; `sizes` as in `postprocess`."""
        return self.postprocess(self.forward(self.preprocess(images)), sizes)

    def _select_candidates(
        self, cls_logits: Tensor, bbox_regression: Tensor
    ) -> tuple[Array, Array, Array, Array]:
        """Return image [N], anchor [N], logits [N, K + 1] and offsets [N, 4] on the host."""
        margins = cls_logits[..., 1:].amax(dim=-1)
        if self._postprocess.scores == "softmax":
            margins -= cls_logits[..., 0]
        if not self._device.has_dynamic_shapes:
            outputs = (margins, cls_logits, bbox_regression)
            margins, cls_logits, bbox_regression = (tensor.cpu() for tensor in outputs)
        rows = (margins > self._lowest_margin).nonzero(as_tuple=True)
        chosen = (*rows, cls_logits[rows], bbox_regression[rows])
        images, anchors, logits, offsets = (tensor.cpu().numpy() for tensor in chosen)
        return images, anchors, logits, offsets
