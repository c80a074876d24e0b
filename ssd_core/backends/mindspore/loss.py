"""Matching and loss of a batch, on the device.

All shapes are fixed, so that the graph is compiled once: no loop over images and no operation that
depends on a value. `detection/loss.py` defines the results.
"""

import mindspore as ms
from mindspore import Tensor, nn, ops

from ssd_core.config import FocalLossSpec, LossDivisor, MatchingSpec, SoftmaxLossSpec
from ssd_core.detection.boxes import to_xyxy
from ssd_core.detection.matcher import reaches_threshold
from ssd_core.structures import FloatArray


class MindSporeLoss(nn.Cell):
    """The losses of `detection.loss.DetectionLoss` for padded objects."""

    def __init__(
        self,
        anchors_cxcywh: FloatArray,
        *,
        variances: tuple[float, float],
        matching: MatchingSpec,
        classification: SoftmaxLossSpec | FocalLossSpec,
        divisor: LossDivisor,
    ) -> None:
        super().__init__()
        centre_variance, size_variance = variances
        anchors = Tensor(anchors_cxcywh)
        self._anchor_sides = Tensor(to_xyxy(anchors_cxcywh).T.copy())
        self._code_origin = _to_code(anchors)
        self._code_unit = ops.cat(
            [anchors[:, 2:] * centre_variance, ops.full_like(anchors[:, 2:], size_variance)], 1
        )
        self._matching, self._divisor = matching, divisor
        if isinstance(classification, SoftmaxLossSpec):
            self._classify: nn.Cell = _SoftmaxLoss(classification)
        else:
            self._classify = _FocalLoss(classification)

    def construct(
        self, cls_logits: Tensor, bbox_regression: Tensor, targets: tuple[Tensor, ...]
    ) -> Tensor:
        """Return [2] sums of the losses of classes and boxes, to be divided by the divisor."""
        classes, offsets, positive, _ = targets
        cls = self._classify(cls_logits, classes, positive)
        errors = ops.smooth_l1_loss(bbox_regression, offsets, reduction="none")
        bbox = ops.where(positive[..., None], errors, 0.0).sum(axis=2)
        if self._divisor == "image":
            per_image = _count_per_image(positive)
            cls, bbox = cls.sum(axis=1) / per_image, bbox.sum(axis=1) / per_image
        return ops.stack([cls.sum(), bbox.sum()])

    def assign(self, boxes: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
        """Return the targets of padded objects [B, M, 4] and [B, M]; M is at least 1.

        They are [B, A] classes, [B, A, 4] offsets, [B, A] whether an anchor has an object, and [2]
        counts, which the parts of a batch and the ranks add up: the divisor of both losses, then to
        be limited to at least 1, and the positives.
        """
        matched, positive = self.match(boxes, labels)
        classes = ops.where(positive, ops.gather_elements(labels, 1, matched), 0)
        # An anchor without object would have infinite or meaningless offsets.
        offsets = ops.where(positive[..., None], self._encode(boxes, matched), 0.0)
        total = positive.astype(ms.float32).sum()
        divisor = total
        if self._divisor == "batch_at_least_one":
            divisor = _count_per_image(positive).sum()
        elif self._divisor == "image":
            divisor = ops.ones_like(_count_per_image(positive)).sum()
        return classes, offsets, positive, ops.stack([divisor, total])

    def match(self, boxes: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return for each anchor the row of its object, and whether it has one; both [B, A]."""
        iou = _compute_iou(boxes, self._anchor_sides) * (labels > 0)[..., None]
        matched, best_iou = ops.ArgMaxWithValue(axis=1)(iou)
        best_anchor, anchor_iou = ops.ArgMaxWithValue(axis=2)(iou)
        num_rows, num_anchors = iou.shape[1:]
        claims = (best_anchor[..., None] == ops.arange(num_anchors)) & (anchor_iou[..., None] > 0)
        # The greatest number that claims an anchor wins.
        numbers = ops.arange(1, num_rows + 1)
        if self._matching.contested_anchor == "first":
            numbers = num_rows + 1 - numbers
        forced = (claims * numbers[:, None]).max(axis=1)
        is_forced = forced > 0
        row = num_rows - forced if self._matching.contested_anchor == "first" else forced - 1
        matched = ops.where(is_forced, row.astype(ms.int64), matched.astype(ms.int64))
        return matched, reaches_threshold(best_iou, self._matching) | is_forced

    def _encode(self, boxes: Tensor, matched: Tensor) -> Tensor:
        """Return [B, A, 4] offsets of each anchor's object."""
        low, high = boxes[..., :2], boxes[..., 2:]
        code = _to_code(ops.cat([(low + high) / 2, high - low], -1))
        code = ops.gather_elements(code, 1, ops.tile(matched[..., None], (1, 1, 4)))
        return (code - self._code_origin) / self._code_unit


def _count_per_image(positive: Tensor) -> Tensor:
    """Return [B] positives of each image, at least 1."""
    return ops.maximum(positive.astype(ms.float32).sum(axis=1), 1.0)


class _SoftmaxLoss(nn.Cell):
    """Cross entropy of the positives and the hardest negatives."""

    def __init__(self, spec: SoftmaxLossSpec) -> None:
        super().__init__()
        self._neg_to_pos_ratio = spec.neg_to_pos_ratio

    def construct(self, cls_logits: Tensor, targets: Tensor, positive: Tensor) -> Tensor:
        """Return [B, A] cross entropies, 0 for anchors that do not take part."""
        cross_entropy = ops.cross_entropy(
            cls_logits.reshape(-1, cls_logits.shape[-1]),
            targets.reshape(-1).astype(ms.int32),
            reduction="none",
        ).reshape(targets.shape)
        takes_part = positive | self._find_hard(positive, ops.stop_gradient(cross_entropy))
        return ops.where(takes_part, cross_entropy, 0.0)

    def _find_hard(self, positive: Tensor, cross_entropy: Tensor) -> Tensor:
        """Return [B, A], true for the hardest negatives of each image.

        Of equal losses at the limit the first anchors are taken; a sort of the values alone
        suffices for that, whether it is stable or not.
        """
        wanted = positive.astype(ms.float32).sum(axis=1, keepdims=True) * self._neg_to_pos_ratio
        wanted = ops.floor(wanted).astype(ms.int32)
        values = ops.where(positive, 0.0, cross_entropy)
        descending, _ = ops.sort(values, axis=1, descending=True)
        last = ops.minimum(ops.maximum(wanted - 1, 0), values.shape[1] - 1)
        limit = ops.gather_elements(descending, 1, last.astype(ms.int64))
        is_harder, is_equal = values > limit, values == limit
        num_left = wanted - is_harder.astype(ms.int32).sum(axis=1, keepdims=True)
        is_first = ops.cumsum(is_equal.astype(ms.int32), 1) <= num_left
        return (is_harder | (is_equal & is_first)) & (wanted > 0)


class _FocalLoss(nn.Cell):
    """Sigmoid focal loss of all anchors."""

    def __init__(self, spec: FocalLossSpec) -> None:
        super().__init__()
        self._alpha, self._gamma = spec.alpha, spec.gamma
        self._first_column = 0 if spec.background_column else 1

    def construct(self, cls_logits: Tensor, targets: Tensor, positive: Tensor) -> Tensor:
        """Return [B, A] sums of the focal losses of the classes."""
        classes = ops.arange(self._first_column, cls_logits.shape[-1])
        is_target = targets[..., None] == classes
        logits = cls_logits[..., self._first_column :]
        signed = ops.where(is_target, logits, -logits)
        # The exponential of a logarithm, unlike a power, has a finite gradient where 1 - p is 0.
        modulation = ops.exp(-self._gamma * _softplus(signed))
        weights = ops.where(is_target, self._alpha, 1 - self._alpha)
        return (weights * modulation * _softplus(-signed)).sum(axis=-1)


def _softplus(values: Tensor) -> Tensor:
    """Return log(1 + exp(x)); no value overflows."""
    return ops.maximum(values, 0.0) + ops.log1p(ops.exp(-ops.abs(values)))


def _to_code(boxes_cxcywh: Tensor) -> Tensor:
    """Replace the sizes by their logarithms: then offsets are differences, but for a unit."""
    return ops.cat([boxes_cxcywh[..., :2], ops.log(boxes_cxcywh[..., 2:])], -1)


def _compute_iou(boxes: Tensor, anchor_sides: Tensor) -> Tensor:
    """Return [B, M, A] intersection over union of [B, M, 4] and [4, A] xyxy boxes."""
    left, top, right, bottom = (boxes[..., side, None] for side in range(4))
    anchor_left, anchor_top, anchor_right, anchor_bottom = anchor_sides
    width = ops.minimum(right, anchor_right) - ops.maximum(left, anchor_left)
    height = ops.minimum(bottom, anchor_bottom) - ops.maximum(top, anchor_top)
    shared = ops.maximum(width, 0.0) * ops.maximum(height, 0.0)
    areas = (right - left) * (bottom - top)
    anchor_areas = (anchor_right - anchor_left) * (anchor_bottom - anchor_top)
    return shared / (areas + anchor_areas - shared)
