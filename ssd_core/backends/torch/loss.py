"""Matching and loss of a batch, on the device.

All shapes are fixed: no loop over images, no operation that the host must wait for, and a number of
launches that does not grow with the batch. `detection/loss.py` defines the results.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ssd_core.config import FocalLossSpec, LossDivisor, MatchingSpec, SoftmaxLossSpec
from ssd_core.detection.boxes import to_xyxy
from ssd_core.detection.matcher import reaches_threshold
from ssd_core.structures import FloatArray


@dataclass(frozen=True, slots=True)
class Targets:
    """The values that the anchors of some images are to predict, on the device."""

    classes: Tensor
    """[B, A] 1..K; 0 for an anchor without object."""
    offsets: Tensor
    """[B, A, 4]; meaningless without object."""
    positive: Tensor
    """[B, A] whether an anchor has an object."""
    counts: Tensor
    """[2] the divisor of both losses, and the positives. The parts of a batch and the ranks add
    them up; a divisor is then limited to at least 1."""


class TorchLoss:
    """The losses of `detection.loss.DetectionLoss` for padded objects."""

    def __init__(
        self,
        anchors_cxcywh: FloatArray,
        *,
        variances: tuple[float, float],
        matching: MatchingSpec,
        classification: SoftmaxLossSpec | FocalLossSpec,
        divisor: LossDivisor,
        device: torch.device,
    ) -> None:
        centre_variance, size_variance = variances
        anchors = torch.from_numpy(anchors_cxcywh).to(device)
        self._anchor_sides = torch.from_numpy(to_xyxy(anchors_cxcywh).T.copy()).to(device)
        self._code_origin = _to_code(anchors)
        self._code_unit = torch.full_like(anchors, size_variance)
        self._code_unit[:, :2] = anchors[:, 2:] * centre_variance
        self._ranks = torch.arange(len(anchors), device=device)
        self._matching, self._divisor = matching, divisor
        self._classification = classification

    def __call__(
        self, cls_logits: Tensor, bbox_regression: Tensor, targets: Targets
    ) -> tuple[Tensor, Tensor]:
        """Return the sums of the losses of classes and boxes, to be divided by the divisor."""
        if isinstance(self._classification, SoftmaxLossSpec):
            cls = self._softmax_loss(cls_logits, targets, self._classification)
        else:
            cls = _focal_loss(cls_logits, targets.classes, self._classification)
        errors = functional.smooth_l1_loss(bbox_regression, targets.offsets, reduction="none")
        # An anchor without object has no gradient.
        bbox = torch.where(targets.positive[..., None], errors, 0)
        if self._divisor == "image":
            per_image = _count_per_image(targets.positive)
            cls, bbox = cls.sum(dim=1) / per_image, bbox.sum(dim=(1, 2)) / per_image
        return cls.sum(), bbox.sum()

    @torch.no_grad()
    def assign(self, boxes: Tensor, labels: Tensor) -> Targets:
        """Return the targets of padded objects [B, M, 4] and [B, M]; M is at least 1."""
        matched, positive = self.match(boxes, labels)
        divisor = total = positive.sum(dtype=boxes.dtype)
        if self._divisor == "batch_at_least_one":
            divisor = _count_per_image(positive).sum(dtype=boxes.dtype)
        elif self._divisor == "image":
            divisor = torch.full_like(total, len(positive))
        return Targets(
            classes=torch.where(positive, labels.gather(1, matched), 0),
            offsets=self._encode(boxes, matched),
            positive=positive,
            counts=torch.stack([divisor, total]),
        )

    @torch.no_grad()
    def match(self, boxes: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return for each anchor the row of its object, and whether it has one; both [B, A]."""
        iou = _compute_iou(boxes, self._anchor_sides).mul_((labels > 0)[..., None])
        anchor_iou, best_anchor = iou.max(dim=2, keepdim=True)
        # A claim is above any overlap; the greatest one wins, in any order of execution.
        claims = torch.arange(2, 2 + labels.shape[1], device=labels.device, dtype=iou.dtype)
        if self._matching.contested_anchor == "first":
            claims = claims.flip(0)
        claims = torch.where(anchor_iou > 0, claims[:, None], anchor_iou)
        best, matched = iou.scatter_(2, best_anchor, claims).max(dim=1)
        return matched, reaches_threshold(best, self._matching)

    def _softmax_loss(self, cls_logits: Tensor, targets: Targets, spec: SoftmaxLossSpec) -> Tensor:
        """Return [B, A] cross entropies, 0 for anchors that do not take part."""
        cross_entropy = functional.cross_entropy(
            cls_logits.flatten(0, 1), targets.classes.flatten(), reduction="none"
        ).view_as(targets.classes)
        takes_part = self._add_hard_negatives(targets.positive, cross_entropy.detach(), spec)
        return torch.where(takes_part, cross_entropy, 0)

    @torch.no_grad()
    def _add_hard_negatives(
        self, positive: Tensor, cross_entropy: Tensor, spec: SoftmaxLossSpec
    ) -> Tensor:
        """Return [B, A], true for the positives and the hardest negatives of each image."""
        wanted = (positive.sum(dim=1, keepdim=True) * spec.neg_to_pos_ratio).floor()
        hardest = cross_entropy.masked_fill(positive, 0).argsort(
            dim=1, descending=True, stable=True
        )
        is_hard = torch.zeros_like(positive).scatter_(1, hardest, self._ranks < wanted)
        return positive | is_hard

    def _encode(self, boxes: Tensor, matched: Tensor) -> Tensor:
        """Return [B, A, 4] offsets of each anchor's object."""
        low, high = boxes[..., :2], boxes[..., 2:]
        # Padding has no size; not all devices compute with the infinite logarithm of 0.
        sizes = (high - low).clamp(min=torch.finfo(boxes.dtype).tiny)
        code = _to_code(torch.cat([(low + high) / 2, sizes], dim=-1))
        code = code.gather(1, matched[..., None].expand(-1, -1, 4))
        return code.sub_(self._code_origin).div_(self._code_unit)


def _count_per_image(positive: Tensor) -> Tensor:
    """Return [B] positives of each image, at least 1."""
    return positive.sum(dim=1).clamp(min=1)


def _focal_loss(cls_logits: Tensor, targets: Tensor, spec: FocalLossSpec) -> Tensor:
    """Return [B, A] sums of the focal losses of the classes."""
    first = 0 if spec.background_column else 1
    classes = torch.arange(first, cls_logits.shape[-1], device=targets.device)
    is_target = targets[..., None] == classes
    logits = cls_logits[..., first:]
    margins = torch.where(is_target, -logits, logits)
    wrong = functional.softplus(margins)  # -log(p)
    # The exponential of a logarithm, unlike a power, has a finite gradient where 1 - p is 0.
    modulation = torch.exp(-spec.gamma * functional.softplus(-margins))
    weights = torch.where(is_target, spec.alpha, 1 - spec.alpha)
    return (weights * modulation * wrong).sum(dim=-1)


def _to_code(boxes_cxcywh: Tensor) -> Tensor:
    """Replace the sizes by their logarithms: then offsets are differences, but for a unit."""
    return torch.cat([boxes_cxcywh[..., :2], boxes_cxcywh[..., 2:].log()], dim=-1)


def _compute_iou(boxes: Tensor, anchor_sides: Tensor) -> Tensor:
    """Return [B, M, A] intersection over union of [B, M, 4] and, for speed, [4, A] xyxy boxes."""
    left, top, right, bottom = boxes[..., None].unbind(dim=2)
    anchor_left, anchor_top, anchor_right, anchor_bottom = anchor_sides.unbind(dim=0)
    width = torch.minimum(right, anchor_right).sub_(torch.maximum(left, anchor_left))
    height = torch.minimum(bottom, anchor_bottom).sub_(torch.maximum(top, anchor_top))
    shared = width.clamp_(min=0).mul_(height.clamp_(min=0))
    areas = (right - left) * (bottom - top)
    anchor_areas = (anchor_right - anchor_left) * (anchor_bottom - anchor_top)
    return shared.div_((areas + anchor_areas).sub_(shared))
