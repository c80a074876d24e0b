"""Turn the raw outputs of a network into the detections of one image."""

import math

import numpy as np

from ssd_core.config import PostprocessSpec
from ssd_core.detection.boxes import BoxCoder, compute_iou
from ssd_core.structures import Detections, FloatArray, IntArray

_ROUNDING = 1e-3
"""Tolerance in units of a logit: rounding on a device must not reject a candidate."""

_ONE_PIXEL = np.array([0, 0, 1, 1], np.float32)
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
    decoded, scores = decode_outputs(
        cls_logits, bbox_regression, anchors_cxcywh, coder=coder, spec=spec
    )
    rows, classes = np.nonzero(scores > np.float32(spec.score_threshold))
    boxes, scores = decoded[rows], scores[rows, classes]
    scale = np.array([*size, *size], np.float32)
    # The overlap of true areas does not change with the scale of an axis: units of the image do.
    compared = boxes * scale + _ONE_PIXEL if spec.plus_one_areas else boxes
    kept = _suppress_by_class(compared, scores, classes, spec)
    return Detections(boxes=boxes[kept] * scale, scores=scores[kept], labels=classes[kept] + 1)


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


def suppress(boxes: FloatArray, iou_threshold: float) -> IntArray:
    """Return the rows of [N, 4] xyxy boxes, best first, that survive NMS; N may be 0.

    A box is dropped if its IoU with a better surviving one exceeds the threshold.
    """
    is_apart = compute_iou(boxes, boxes) <= np.float32(iou_threshold)
    survives = np.ones(len(boxes), np.bool_)
    for row in range(len(boxes)):
        if survives[row]:
            survives[row + 1 :] &= is_apart[row, row + 1 :]
    return np.flatnonzero(survives)


def _suppress_by_class(
    boxes: FloatArray, scores: FloatArray, classes: IntArray, spec: PostprocessSpec
) -> IntArray:
    """Return the surviving rows of all classes, best first."""
    order = np.lexsort((-scores, classes))
    groups = np.split(order, np.flatnonzero(np.diff(classes[order])) + 1)
    kept = []
    for group in groups:
        candidates = group[: spec.topk_candidates or None]
        survivors = suppress(boxes[candidates], spec.nms_iou_threshold)
        kept.append(candidates[survivors[: spec.max_detections_per_class or None]])
    rows = np.concatenate(kept)
    best_first = np.argsort(-scores[rows], kind="stable")
    return rows[best_first][: spec.max_detections_per_image or None]
