"""Turn the raw outputs of a network into the detections of one image."""

import numpy as np

from ssd_core.config import PostprocessSpec
from ssd_core.detection.box_coder import BoxCoder
from ssd_core.detection.nms import suppress
from ssd_core.structures import Detections, FloatArray, IntArray


def select_detections(
    cls_logits: FloatArray,
    bbox_regression: FloatArray,
    anchors_cxcywh: FloatArray,
    *,
    coder: BoxCoder,
    spec: PostprocessSpec,
    size: tuple[int, int],
) -> Detections:
    """Return what is left after score threshold, best candidates a class, NMS a class, and the cap.

    The rows may be a part of all anchors; rows where no class passes change nothing.

    Args:
        cls_logits: [N, K + 1], background first.
        bbox_regression: [N, 4] offsets.
        anchors_cxcywh: [N, 4] in units of the image side.
        coder: decodes the offsets.
        spec: the thresholds.
        size: width and height of the original image in pixels, which the boxes refer to.
    """
    scores = softmax(cls_logits)[:, 1:]
    rows, classes = np.nonzero(scores > np.float32(spec.score_threshold))
    scores = scores[rows, classes]
    # Overlap of boxes does not change with the scale of an axis, so NMS runs in units of the image.
    boxes = np.clip(coder.decode(bbox_regression, anchors_cxcywh), 0, 1)[rows]
    kept = _suppress_by_class(boxes, scores, classes, spec)
    scale = np.array([*size, *size], np.float32)
    return Detections(boxes=boxes[kept] * scale, scores=scores[kept], labels=classes[kept] + 1)


def softmax(logits: FloatArray) -> FloatArray:
    """Return the probabilities of [..., C] logits over the last axis."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    probabilities: FloatArray = powers / powers.sum(axis=-1, keepdims=True)
    return probabilities


def _suppress_by_class(
    boxes: FloatArray, scores: FloatArray, classes: IntArray, spec: PostprocessSpec
) -> IntArray:
    """Return the surviving rows of all classes, best first."""
    order = np.lexsort((-scores, classes))
    groups = np.split(order, np.flatnonzero(np.diff(classes[order])) + 1)
    kept = []
    for group in groups:
        candidates = group[: spec.topk_candidates]
        kept.append(candidates[suppress(boxes[candidates], spec.nms_iou_threshold)])
    survivors = np.concatenate(kept)
    best_first = np.argsort(-scores[survivors], kind="stable")
    return survivors[best_first][: spec.max_detections_per_image]
