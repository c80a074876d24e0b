"""Assign objects to anchors, as in section 2.2 of the SSD paper."""

from typing import Any

import numpy as np

from ssd_core.config import MatchingSpec
from ssd_core.detection.boxes import compute_iou
from ssd_core.structures import FloatArray, IntArray

BACKGROUND = -1


def reaches_threshold(iou: Any, spec: MatchingSpec) -> Any:
    """Return a mask of an array or tensor of float32 IoU: true where an anchor takes its object."""
    return iou >= spec.iou_threshold if spec.inclusive else iou > spec.iou_threshold


def match_anchors(
    anchors: FloatArray, boxes: FloatArray, labels: IntArray, spec: MatchingSpec
) -> IntArray:
    """Return [A] the row of each anchor's object in `boxes`, or -1 for background.

    Anchors [A, 4] and boxes [M, 4] are xyxy in [0, 1]; labels [M] are 1..K, and 0 marks a row of
    padding, which matches nothing. M may be 0.

    An anchor takes the object that it overlaps most (the first of equals) if the IoU reaches the
    threshold. Then each object takes its best anchor (the first of equals) whatever the IoU; the
    specification decides which of several objects gets an anchor that is the best of all of them.
    Unlike in the reference systems, an object without any overlap takes no anchor; anchors cover
    the image, so only boxes without area are affected.
    """
    matched = np.full(len(anchors), BACKGROUND, np.int64)
    objects = np.flatnonzero(labels)
    if len(objects) == 0:
        return matched
    iou = compute_iou(boxes[objects], anchors)
    positive = reaches_threshold(iou.max(axis=0), spec)
    matched[positive] = objects[iou.argmax(axis=0)[positive]]
    forced = list(enumerate(iou.argmax(axis=1)))
    for index, best_anchor in forced if spec.contested_anchor == "last" else forced[::-1]:
        if iou[index, best_anchor] > 0:
            matched[best_anchor] = objects[index]
    return matched
