"""Detections from plain values."""

from collections.abc import Sequence

import numpy as np

from ssd_core.structures import Array, Detections


def make_detections(
    boxes: Sequence[Sequence[float]] | Array,
    scores: Sequence[float] | Array,
    labels: Sequence[int] | Array,
) -> Detections:
    return Detections(
        boxes=np.asarray(boxes, np.float32).reshape(-1, 4),
        scores=np.asarray(scores, np.float32),
        labels=np.asarray(labels, np.int64),
    )


NOTHING_FOUND = make_detections([], [], [])
