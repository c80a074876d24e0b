"""Random objects and detections."""

import numpy as np

from ssd_core.structures import ClassInfo, make_annotations
from tests.detections import make_detections


def make_classes(count, gap=3):
    """Category ids with gaps, as COCO has them; with a gap of 1 they are the labels."""
    return [
        ClassInfo(label=k, name=f"class {k}", category_id=gap * (k - 1) + 1)
        for k in range(1, count + 1)
    ]


def random_set(seed, num_images=12, num_classes=4, crowd=0.1, decimals=1):
    """Objects of all sizes; detections near them, duplicated, mislabelled, and free inventions."""
    rng = np.random.default_rng(seed)
    truths, found = [], []
    for _ in range(num_images):
        count = int(rng.integers(0, 9))
        corners = rng.uniform(0, 300, (count, 2))
        boxes = np.concatenate([corners, corners + rng.lognormal(3.5, 1.0, (count, 2))], axis=1)
        labels = rng.integers(1, num_classes, count)  # the last class has no objects
        truths.append(
            make_annotations(
                boxes,
                labels,
                areas=(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) * rng.uniform(0.4, 1, count),
                is_crowd=rng.random(count) < crowd,
            )
        )
        near = np.repeat(boxes, 2, axis=0) + rng.normal(0, 6, (2 * count, 4))
        free = rng.uniform(0, 200, (5, 4)) + np.array([0, 0, 200, 200])
        guesses = np.concatenate([near, free])
        guesses[:, 2:] = np.maximum(guesses[:, 2:], guesses[:, :2] + 1)
        guessed = np.concatenate([np.repeat(labels, 2), rng.integers(1, num_classes + 1, 5)])
        scores = np.round(rng.random(len(guesses)), decimals)  # coarse ones are often equal
        found.append(make_detections(guesses, scores, guessed))
    return truths, found, make_classes(num_classes)
