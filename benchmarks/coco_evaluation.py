"""The twelve COCO numbers of detections, ours and pycocotools'.

Five images per `--images`, so 5,000 by default, each with seven objects of 80 classes and 100
detections near them, half of them of the right class. Both start from arrays in memory.
"""

from collections.abc import Iterator

import numpy as np

from benchmarks.interleaved import compare
from benchmarks.script import Measurement, Size, main, ratio
from ssd_core.evaluation.check import coco_dataset, run_pycocotools
from ssd_core.evaluation.coco import COCO_METRICS, evaluate_coco, join_images
from ssd_core.structures import Annotations, ClassInfo, Detections

_SIDE, _NUM_CLASSES, _OBJECTS, _DETECTIONS = 640, 80, 7, 100
_CLASSES = [
    ClassInfo(label=label, name=f"class {label}", category_id=label)
    for label in range(1, _NUM_CLASSES + 1)
]


def measure(size: Size) -> Iterator[Measurement]:
    """Yield the ratio of the elapsed times; ours computes on two threads."""
    rng = np.random.default_rng(0)
    images = 5 * size.images
    truths = [make_objects(rng) for _ in range(images)]
    found = [detect(rng, truth) for truth in truths]
    arrays = join_images(truths, found)
    dataset = coco_dataset(arrays, _CLASSES)

    def ours() -> list[float | None]:
        values = evaluate_coco(truths, found, _CLASSES).values
        return [values[name] for name in COCO_METRICS]

    def theirs() -> list[float]:
        evaluator, _ = run_pycocotools(dataset, arrays.detections)
        return list(evaluator.stats)

    def check(values: list[float | None], expected: list[float]) -> None:
        assert np.allclose(np.array(values, np.float64), expected, rtol=0, atol=1e-9)

    yield ratio("coco-evaluation", compare(ours, theirs, check=check, rounds=size.rounds))


def make_objects(rng: np.random.Generator) -> Annotations:
    """Return the objects of an image."""
    low, sides = rng.random((2, _OBJECTS, 2)) * [[[_SIDE / 2]], [[_SIDE / 2]]]
    boxes = np.hstack([low, low + sides + 4]).astype(np.float32)
    return Annotations(
        boxes=boxes,
        labels=rng.integers(1, _NUM_CLASSES + 1, _OBJECTS),
        areas=np.prod(boxes[:, 2:] - boxes[:, :2], axis=1, dtype=np.float64),
        is_crowd=np.zeros(_OBJECTS, np.bool_),
        is_difficult=np.zeros(_OBJECTS, np.bool_),
        box_ids=np.arange(_OBJECTS),
    )


def detect(rng: np.random.Generator, truth: Annotations) -> Detections:
    """Return detections near the objects."""
    near = rng.integers(_OBJECTS, size=_DETECTIONS)
    shifts = np.tile(rng.normal(0, 12, (_DETECTIONS, 2)), 2)
    is_right = rng.random(_DETECTIONS) < 0.5
    return Detections(
        boxes=(truth.boxes[near] + shifts).astype(np.float32),
        scores=np.sort(rng.random(_DETECTIONS))[::-1].astype(np.float32),
        labels=np.where(
            is_right, truth.labels[near], rng.integers(1, _NUM_CLASSES + 1, _DETECTIONS)
        ),
    )


if __name__ == "__main__":
    main(measure)
