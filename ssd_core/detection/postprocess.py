"""Turn the raw outputs of a network into the detections of one image."""

import math

import numpy as np

from ssd_core.config import PostprocessSpec
from ssd_core.detection.boxes import BoxCoder
from ssd_core.detection.nms import suppress
from ssd_core.structures import BoolArray, Detections, FloatArray, IntArray

_ROUNDING = 1e-3
"""Tolerance in units of a logit: rounding on a device must not reject a candidate."""

ONE_PIXEL = np.array([0, 0, 1, 1], np.float32)
"""Added to xyxy boxes, makes each side a pixel longer."""


def select_detections(
    cls_logits: FloatArray,
    bbox_regression: FloatArray,
    anchors_cxcywh: FloatArray,
    *,
    coder: BoxCoder,
    spec: PostprocessSpec,
    size: tuple[int, int],
) -> Detections:
    """Return the detections, best first: score threshold, best candidates, NMS, then the limits.

    The rows may be a part of all anchors: rows where no class passes the threshold change nothing.

    Args:
        cls_logits: [N, K + 1], background first.
        bbox_regression: [N, 4] offsets.
        anchors_cxcywh: [N, 4] in units of the image side.
        coder: decodes the offsets.
        spec: scores, thresholds and limits.
        size: width and height of the original image in pixels, which the boxes refer to.
    """
    boxes, scores = decode_outputs(
        cls_logits, bbox_regression, anchors_cxcywh, coder=coder, spec=spec
    )
    return select_decoded(boxes, scores, spec=spec, size=size)


def select_decoded(
    boxes: FloatArray, scores: FloatArray, *, spec: PostprocessSpec, size: tuple[int, int]
) -> Detections:
    """Return the detections among decoded outputs, as `select_detections`.

    Args:
        boxes: [N, 4] xyxy in [0, 1].
        scores: [N, K] without the background.
        spec: thresholds and limits.
        size: width and height of the original image in pixels, which the detections refer to.
    """
    classes, rows = _choose_candidates(scores, spec)
    boxes, scores = boxes[rows], scores[rows, classes]
    scale = np.array([*size, *size], np.float32)
    # The overlap of true areas does not change with the scale of an axis: units of the image do.
    compared = boxes * scale + ONE_PIXEL if spec.plus_one_areas else boxes
    kept = np.flatnonzero(suppress(compared, classes, spec.nms_iou_threshold))
    kept = limit_detections(kept, scores, classes, spec)
    return Detections(
        boxes=boxes[kept] * scale,
        scores=scores[kept],
        labels=classes[kept] + 1,
        candidates=len(rows),
    )


def limit_detections(
    rows: IntArray, scores: FloatArray, classes: IntArray, spec: PostprocessSpec
) -> IntArray:
    """Return the rows within the limits per class and per image, best first.

    Args:
        rows: [M] of N detections, by class; those of a class are best first.
        scores: [N].
        classes: [N].
        spec: the limits.
    """
    rows = rows[_lead_their_class(classes[rows], spec.max_detections_per_class)]
    best_first = np.argsort(-scores[rows], kind="stable")
    return rows[best_first][: spec.max_detections_per_image or None]


def decode_outputs(
    cls_logits: FloatArray,
    bbox_regression: FloatArray,
    anchors_cxcywh: FloatArray,
    *,
    coder: BoxCoder,
    spec: PostprocessSpec,
) -> tuple[FloatArray, FloatArray]:
    """Return [..., N, 4] xyxy boxes in [0, 1] and [..., N, K] scores without the background.

    The arguments are those of `select_detections`, with any leading dimensions.
    """
    scores = (softmax if spec.scores == "softmax" else sigmoid)(cls_logits)[..., 1:]
    return np.clip(coder.decode(bbox_regression, anchors_cxcywh), 0, 1), scores


def lowest_margin(spec: PostprocessSpec) -> float:
    """Return a lower bound of the margin of every detection, for a cheap first choice of rows.

    The margin is the greatest logit of a class, whose sigmoid is the score, or its difference to
    that of the background, whose exponential is greater than the score of a softmax.
    """
    score = spec.score_threshold * (1 - 1e-6)  # scores are rounded to single precision
    margin = math.log(score / (1 - score)) if spec.scores == "sigmoid" else math.log(score)
    return margin - _ROUNDING


def softmax(logits: FloatArray) -> FloatArray:
    """Return the probabilities of [..., C] logits over the last axis."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    probabilities: FloatArray = powers / powers.sum(axis=-1, keepdims=True)
    return probabilities


def sigmoid(logits: FloatArray) -> FloatArray:
    """Return the probability of each logit; no logit overflows."""
    probabilities: FloatArray = np.exp(-np.logaddexp(0, -logits))
    return probabilities


def _choose_candidates(scores: FloatArray, spec: PostprocessSpec) -> tuple[IntArray, IntArray]:
    """Return the classes and the rows of the best candidates of each class, best first."""
    by_class = np.ascontiguousarray(scores.T)
    passes = by_class > np.float32(spec.score_threshold)
    if 0 < spec.topk_candidates < len(scores):
        last = np.partition(by_class, -spec.topk_candidates, axis=1)[:, -spec.topk_candidates]
        passes &= by_class >= last[:, None]
    classes, rows = np.nonzero(passes)
    # Twice as fast as a sort by two keys; scores that differ by less than 1e-13 count as equal.
    order = np.argsort(classes - by_class[passes].astype(np.float64), kind="stable")
    order = order[_lead_their_class(classes, spec.topk_candidates)]  # equal scores may be too many
    return classes[order], rows[order]


def _lead_their_class(classes: IntArray, count: int) -> BoolArray:
    """Return which elements of [N] ascending classes are among the first of theirs; 0 for all."""
    place = np.arange(len(classes)) - np.searchsorted(classes, classes)
    leads: BoolArray = place < (count or len(classes))
    return leads
