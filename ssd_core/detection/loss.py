"""The losses of SSD in NumPy: the oracle that every backend is held to.

A backend computes the same on its device; this one is written to be read, in double precision.
"""

from dataclasses import dataclass

import numpy as np

from ssd_core.config import FocalLossSpec, LossDivisor, MatchingSpec, SoftmaxLossSpec
from ssd_core.detection.boxes import BoxCoder, to_xyxy
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
class DetectionLoss:
    """Classification loss, and smooth L1 on the offsets of the positives."""

    anchors_cxcywh: FloatArray
    """[A, 4] in units of the image side."""
    variances: tuple[float, float]
    matching: MatchingSpec
    classification: SoftmaxLossSpec | FocalLossSpec
    divisor: LossDivisor

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
        loss_cls, loss_bbox = 0.0, 0.0
        grad_cls, grad_bbox = np.zeros(cls_logits.shape), np.zeros(bbox_regression.shape)
        matched = [
            match_anchors(to_xyxy(self.anchors_cxcywh), *objects, self.matching)
            for objects in zip(boxes, labels, strict=True)
        ]
        positives = np.array([(rows != BACKGROUND).sum() for rows in matched])
        for image, weight in enumerate(_image_weights(positives, self.divisor)):
            targets = np.append(labels[image], 0)[matched[image]]  # BACKGROUND is the last row
            loss, gradient = self._classify(cls_logits[image].astype(np.float64), targets)
            loss_cls, grad_cls[image] = loss_cls + weight * loss, weight * gradient
            loss, gradient = self._regress(bbox_regression[image], boxes[image], matched[image])
            loss_bbox, grad_bbox[image] = loss_bbox + weight * loss, weight * gradient
        return LossTerms(
            loss_cls=loss_cls,
            loss_bbox=loss_bbox,
            positives=int(positives.sum()),
            grad_cls_logits=grad_cls,
            grad_bbox_regression=grad_bbox,
        )

    def _classify(self, logits: Array, targets: IntArray) -> tuple[float, Array]:
        if isinstance(self.classification, SoftmaxLossSpec):
            return softmax_loss(logits, targets, self.classification)
        return focal_loss(logits, targets, self.classification)

    def _regress(
        self, offsets: FloatArray, boxes: FloatArray, matched: IntArray
    ) -> tuple[float, Array]:
        """Return the sum of smooth L1 (beta 1) over the positives, and its gradient [A, 4]."""
        gradient = np.zeros(offsets.shape)
        anchors = np.flatnonzero(matched != BACKGROUND)
        targets = BoxCoder(self.variances).encode(
            boxes[matched[anchors]], self.anchors_cxcywh[anchors]
        )
        errors = offsets[anchors].astype(np.float64) - targets
        losses = np.where(np.abs(errors) < 1, errors**2 / 2, np.abs(errors) - 0.5)
        gradient[anchors] = np.clip(errors, -1, 1)
        return float(losses.sum()), gradient


def softmax_loss(logits: Array, targets: IntArray, spec: SoftmaxLossSpec) -> tuple[float, Array]:
    """Return the cross entropy of positives and hard negatives of an image, and its gradient.

    Logits are [A, K + 1] with the background first, targets [A] with 0 for background. Of the
    background anchors the ratio times positives hardest ones take part, the first of equals; so an
    image without positives contributes nothing.
    """
    anchors = np.arange(len(targets))
    log_probabilities = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    cross_entropy = -log_probabilities[anchors, targets]
    takes_part = targets > 0
    num_negatives = int(spec.neg_to_pos_ratio * takes_part.sum())
    hardest = np.argsort(-np.where(takes_part, 0, cross_entropy), kind="stable")
    takes_part[hardest[:num_negatives]] = True
    gradient = np.exp(log_probabilities)
    gradient[anchors, targets] -= 1
    gradient[~takes_part] = 0
    return float(cross_entropy[takes_part].sum()), gradient


def focal_loss(logits: Array, targets: IntArray, spec: FocalLossSpec) -> tuple[float, Array]:
    """Return the focal loss of all anchors and classes of an image, and its gradient.

    Logits and targets are those of `softmax_loss`. With p the sigmoid of a logit whose target is 1,
    and of its negative where the target is 0, the loss is -weight * (1 - p)^gamma * log(p).
    """
    is_target = targets[:, None] == np.arange(logits.shape[1])
    sign = np.where(is_target, 1, -1)
    log_p = -np.logaddexp(0, -sign * logits)
    p = np.exp(log_p)
    scale = np.where(is_target, spec.alpha, 1 - spec.alpha) * (1 - p) ** spec.gamma
    losses = -scale * log_p
    gradient = sign * scale * (spec.gamma * p * log_p - (1 - p))
    if not spec.background_column:
        losses[:, 0], gradient[:, 0] = 0, 0
    return float(losses.sum()), gradient


def _image_weights(positives: IntArray, divisor: LossDivisor) -> Array:
    """Return [B] factors of the losses of each image, from its number of positives."""
    at_least_one = np.maximum(1, positives)
    if divisor == "image":
        return 1 / (at_least_one * len(positives))
    whole = at_least_one.sum() if divisor == "batch_at_least_one" else max(1, positives.sum())
    return np.full(len(positives), 1 / whole)
