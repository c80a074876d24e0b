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
class LossSums:
    """Scalars on the device: sums over a batch, which ranks may add up."""

    cls: Tensor
    bbox: Tensor
    divisor: Tensor
    """Divides both losses; to be limited to at least 1 after it is summed over the ranks."""
    positives: Tensor

    def stack(self) -> Tensor:
        """Return [4] values in the order of the fields, without gradients."""
        values = (self.cls, self.bbox, self.divisor, self.positives)
        return torch.stack([value.detach().to(self.cls.dtype) for value in values])


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
        self, cls_logits: Tensor, bbox_regression: Tensor, boxes: Tensor, labels: Tensor
    ) -> LossSums:
        """Return the loss sums of a batch; the arguments are the oracle's, with M at least 1."""
        matched, positive = self.match(boxes, labels)
        targets = torch.where(positive, labels.gather(1, matched), 0)
        if isinstance(self._classification, SoftmaxLossSpec):
            cls = self._softmax_loss(cls_logits, targets, positive, self._classification)
        else:
            cls = _focal_loss(cls_logits, targets, self._classification)
        offsets = self._encode(boxes, matched)
        # An anchor without object has infinite or meaningless offsets here, and no gradient.
        errors = functional.smooth_l1_loss(bbox_regression, offsets, reduction="none")
        bbox = torch.where(positive[..., None], errors, 0)
        return self._sum(cls, bbox, positive)

    def _sum(self, cls: Tensor, bbox: Tensor, positive: Tensor) -> LossSums:
        """Sum the [B, A] and [B, A, 4] losses as the divisor defines it."""
        total = positive.sum()
        if self._divisor == "batch":
            return LossSums(cls.sum(), bbox.sum(), total, total)
        per_image = positive.sum(dim=1).clamp(min=1)
        if self._divisor == "batch_at_least_one":
            return LossSums(cls.sum(), bbox.sum(), per_image.sum(), total)
        cls, bbox = cls.sum(dim=1) / per_image, bbox.sum(dim=(1, 2)) / per_image
        return LossSums(cls.sum(), bbox.sum(), torch.ones_like(per_image).sum(), total)

    @torch.no_grad()
    def match(self, boxes: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return for each anchor the row of its object, and whether it has one; both [B, A]."""
        iou = _compute_iou(boxes, self._anchor_sides).mul_((labels > 0)[..., None])
        best_iou, matched = iou.max(dim=1)
        anchor_iou, best_anchor = iou.max(dim=2)
        num_rows = labels.shape[1]
        # The greatest number that claims an anchor wins, in any order of execution.
        numbers = torch.arange(num_rows, device=labels.device)
        if self._matching.contested_anchor == "first":
            numbers = num_rows - 1 - numbers
        forced = torch.full_like(matched, -1).scatter_reduce_(
            1, best_anchor, torch.where(anchor_iou > 0, numbers, -1), "amax"
        )
        is_forced = forced >= 0
        if self._matching.contested_anchor == "first":
            forced = num_rows - 1 - forced
        positive = reaches_threshold(best_iou, self._matching) | is_forced
        return torch.where(is_forced, forced, matched), positive

    def _softmax_loss(
        self, cls_logits: Tensor, targets: Tensor, positive: Tensor, spec: SoftmaxLossSpec
    ) -> Tensor:
        """Return [B, A] cross entropies, 0 for anchors that do not take part."""
        cross_entropy = functional.cross_entropy(
            cls_logits.flatten(0, 1), targets.flatten(), reduction="none"
        ).view_as(targets)
        takes_part = self._add_hard_negatives(positive, cross_entropy.detach(), spec)
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

    @torch.no_grad()
    def _encode(self, boxes: Tensor, matched: Tensor) -> Tensor:
        """Return [B, A, 4] offsets of each anchor's object."""
        low, high = boxes[..., :2], boxes[..., 2:]
        code = _to_code(torch.cat([(low + high) / 2, high - low], dim=-1))
        code = code.gather(1, matched[..., None].expand(-1, -1, 4))
        return code.sub_(self._code_origin).div_(self._code_unit)


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
