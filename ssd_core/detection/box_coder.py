"""Express boxes relative to anchors and back (SSD paper, equation 2)."""

import math

import numpy as np

from ssd_core.detection.boxes import to_cxcywh, to_xyxy
from ssd_core.structures import FloatArray

MAX_LOG_SCALE = math.log(1000 / 16)
"""A decoded side is at most 62.5 times the anchor's, as in torchvision and mmdetection, so that no
network gives infinite boxes."""


class BoxCoder:
    """Boxes as offsets from anchors: (dx, dy) in anchor sizes, (dw, dh) as logarithm of the scale.

    Both are divided by their variance; torchvision's weights (10, 10, 5, 5) are the inverses of the
    usual variances (0.1, 0.2).
    """

    def __init__(self, variances: tuple[float, float]) -> None:
        self._centre_variance, self._size_variance = map(np.float32, variances)

    def encode(self, boxes: FloatArray, anchors_cxcywh: FloatArray) -> FloatArray:
        """Return [N, 4] offsets of [N, 4] xyxy boxes with area; anchors [N, 4] in the same unit."""
        boxes_cxcywh = to_cxcywh(boxes)
        centre = (boxes_cxcywh[:, :2] - anchors_cxcywh[:, :2]) / anchors_cxcywh[:, 2:]
        size = np.log(boxes_cxcywh[:, 2:] / anchors_cxcywh[:, 2:])
        return np.concatenate([centre / self._centre_variance, size / self._size_variance], axis=1)

    def decode(self, offsets: FloatArray, anchors_cxcywh: FloatArray) -> FloatArray:
        """Return [N, 4] xyxy boxes in the unit of the [N, 4] anchors."""
        centre = offsets[:, :2] * self._centre_variance * anchors_cxcywh[:, 2:]
        scale = np.clip(offsets[:, 2:] * self._size_variance, None, np.float32(MAX_LOG_SCALE))
        size = np.exp(scale) * anchors_cxcywh[:, 2:]
        return to_xyxy(np.concatenate([anchors_cxcywh[:, :2] + centre, size], axis=1))
