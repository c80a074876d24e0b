"""Matching, hard-negative mining and loss of a batch, on the device.

All shapes are fixed: no loop over images, nothing that the host must wait for, and a number of
launches that does not grow with the batch. `detection/loss.py` says what is computed, and why.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ssd_core.detection.boxes import to_xyxy
from ssd_core.structures import FloatArray


@dataclass(frozen=True, slots=True)
class LossSums:
    """Scalars on the device: sums over a batch, to be divided by its positives, at least 1."""

    cls: Tensor
    bbox: Tensor
    positives: Tensor


class MultiBoxLoss:
    """The loss of the SSD paper, section 2.2, for padded objects."""

    def __init__(
        self,
        anchors_cxcywh: FloatArray,
        *,
        variances: tuple[float, float],
        iou_threshold: float,
        neg_to_pos_ratio: float,
        device: torch.device,
    ) -> None:
        centre_variance, size_variance = variances
        anchors = torch.from_numpy(anchors_cxcywh).to(device)
        self._anchor_sides = torch.from_numpy(to_xyxy(anchors_cxcywh).T.copy()).to(device)
        self._code_origin = _to_code(anchors)
        self._code_unit = torch.full_like(anchors, size_variance)
        self._code_unit[:, :2] = anchors[:, 2:] * centre_variance
        self._ranks = torch.arange(len(anchors), device=device)
        self._iou_threshold = iou_threshold
        self._neg_to_pos_ratio = neg_to_pos_ratio

    def __call__(
        self, cls_logits: Tensor, bbox_regression: Tensor, boxes: Tensor, labels: Tensor
    ) -> LossSums:
        """Return the loss sums of a batch.

        Args:
            cls_logits: [B, A, K + 1] float32, background first.
            bbox_regression: [B, A, 4] float32 offsets.
            boxes: [B, M, 4] xyxy in [0, 1], M at least 1.
            labels: [B, M] int64 1..K, 0 marks padding.
        """
        matched, positive = self.match(boxes, labels)
        targets = torch.where(positive, labels.gather(1, matched), 0)
        cross_entropy = functional.cross_entropy(
            cls_logits.flatten(0, 1), targets.flatten(), reduction="none"
        ).view_as(targets)
        takes_part = self._add_hard_negatives(positive, cross_entropy.detach())
        offsets = self._encode(boxes, matched)
        # An anchor without object has infinite or meaningless offsets here, and no gradient.
        errors = functional.smooth_l1_loss(bbox_regression, offsets, reduction="none")
        return LossSums(
            torch.where(takes_part, cross_entropy, 0).sum(),
            torch.where(positive[..., None], errors, 0).sum(),
            positive.sum(),
        )

    @torch.no_grad()
    def match(self, boxes: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return for each anchor the row of its object, and whether it has one; both [B, A]."""
        iou = _compute_iou(boxes, self._anchor_sides).mul_((labels > 0)[..., None])
        best_iou, matched = iou.max(dim=1)
        anchor_iou, best_anchor = iou.max(dim=2)
        objects = torch.arange(labels.shape[1], device=labels.device)
        # The greatest row that wants an anchor is the later object, in any order of execution.
        forced = torch.full_like(matched, -1).scatter_reduce_(
            1, best_anchor, torch.where(anchor_iou > 0, objects, -1), "amax"
        )
        positive = (best_iou >= self._iou_threshold) | (forced >= 0)
        return torch.where(forced >= 0, forced, matched), positive

    @torch.no_grad()
    def _add_hard_negatives(self, positive: Tensor, cross_entropy: Tensor) -> Tensor:
        """Return [B, A], true for the positives and the hardest negatives of each image."""
        wanted = (positive.sum(dim=1, keepdim=True) * self._neg_to_pos_ratio).floor()
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
