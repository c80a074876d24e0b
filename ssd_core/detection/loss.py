"""The SSD loss in NumPy (SSD paper, section 2.2): the oracle that every backend is held to.

A backend computes the same on its device; this one is written to be read, in double precision.
"""

from dataclasses import dataclass

import numpy as np

from ssd_core.detection.box_coder import BoxCoder
from ssd_core.detection.boxes import to_xyxy
from ssd_core.detection.matcher import BACKGROUND, match_anchors
from ssd_core.structures import Array, FloatArray, IntArray


@dataclass(frozen=True, slots=True, kw_only=True)
class LossTerms:
    """Loss of one batch, with its gradients."""

    loss_cls: float
    loss_bbox: float
    positives: int
    """Anchors of the batch that are matched with an object."""
    grad_cls_logits: Array
    """[B, A, K + 1] gradient of loss_cls + loss_bbox."""
    grad_bbox_regression: Array
    """[B, A, 4]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class MultiBoxLoss:
    """Softmax cross entropy with hard negatives, and smooth L1 on the offsets of the positives.

    Of each image the `neg_to_pos_ratio` times positives hardest background anchors take part; an
    image without positives teaches nothing. Both terms are sums over the batch divided by its
    number of positives, at least 1: torchvision's loss, and mmdetection's but for images without
    positives, which there count as one in the divisor.
    """

    anchors_cxcywh: FloatArray
    """[A, 4] in units of the image side."""
    variances: tuple[float, float]
    iou_threshold: float
    neg_to_pos_ratio: float

    def compute(
        self,
        cls_logits: FloatArray,
        bbox_regression: FloatArray,
        boxes: FloatArray,
        labels: IntArray,
    ) -> LossTerms:
        """Return the loss of a batch.

        Args:
            cls_logits: [B, A, K + 1], background first.
            bbox_regression: [B, A, 4] offsets.
            boxes: [B, M, 4] xyxy in [0, 1].
            labels: [B, M] 1..K, 0 marks padding.
        """
        corners = to_xyxy(self.anchors_cxcywh)
        matched = np.stack(
            [
                match_anchors(corners, *objects, iou_threshold=self.iou_threshold)
                for objects in zip(boxes, labels, strict=True)
            ]
        )
        positives = int((matched != BACKGROUND).sum())
        divisor = max(1, positives)
        loss_cls, grad_cls = self._classification(cls_logits, matched, labels)
        loss_bbox, grad_bbox = self._regression(bbox_regression, matched, boxes)
        return LossTerms(
            loss_cls=loss_cls / divisor,
            loss_bbox=loss_bbox / divisor,
            positives=positives,
            grad_cls_logits=grad_cls / divisor,
            grad_bbox_regression=grad_bbox / divisor,
        )

    def _classification(
        self, cls_logits: FloatArray, matched: IntArray, labels: IntArray
    ) -> tuple[float, Array]:
        """Return the sum of the cross entropies that take part, and its gradient."""
        total, gradient = 0.0, np.zeros(cls_logits.shape)
        for image, logits in enumerate(cls_logits.astype(np.float64)):
            positive = matched[image] != BACKGROUND
            targets = np.where(positive, labels[image][matched[image]], 0)
            log_probabilities = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
            cross_entropy = -log_probabilities[np.arange(len(targets)), targets]
            hardest = np.argsort(-np.where(positive, 0, cross_entropy), kind="stable")
            takes_part = positive.copy()
            takes_part[hardest[: int(self.neg_to_pos_ratio * positive.sum())]] = True
            total += cross_entropy[takes_part].sum()
            gradient[image] = np.exp(log_probabilities)
            gradient[image, np.arange(len(targets)), targets] -= 1
            gradient[image, ~takes_part] = 0
        return total, gradient

    def _regression(
        self, bbox_regression: FloatArray, matched: IntArray, boxes: FloatArray
    ) -> tuple[float, Array]:
        """Return the sum of smooth L1 (beta 1) over the positives, and its gradient."""
        gradient = np.zeros(bbox_regression.shape)
        images, anchors = np.nonzero(matched != BACKGROUND)
        targets = BoxCoder(self.variances).encode(
            boxes[images, matched[images, anchors]], self.anchors_cxcywh[anchors]
        )
        errors = bbox_regression[images, anchors].astype(np.float64) - targets
        losses = np.where(np.abs(errors) < 1, errors**2 / 2, np.abs(errors) - 0.5)
        gradient[images, anchors] = np.clip(errors, -1, 1)
        return float(losses.sum()), gradient
