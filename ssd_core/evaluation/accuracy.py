"""Everything that is known about the accuracy of detections, as the content of a results file."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ssd_core.config import EvaluateConfig
from ssd_core.evaluation.coco import (
    ClassScores,
    evaluate_arrays,
    join_images,
    split_errors,
)
from ssd_core.evaluation.confusion import confusion_matrix
from ssd_core.evaluation.run import EvaluatedImage
from ssd_core.evaluation.voc import VOC_METRICS, evaluate_voc
from ssd_core.structures import ClassInfo

_MAX_CONFUSED = 50
"""Largest number of classes for which a confusion matrix is legible."""


def measure_accuracy(
    images: Sequence[EvaluatedImage], classes: Sequence[ClassInfo], config: EvaluateConfig
) -> dict[str, Any]:
    """Return metrics, counts, classes, errors, confusion; `classes` are in label order."""
    truths, found = [image.truth for image in images], [image.found for image in images]
    arrays = join_images(truths, found)
    scores = evaluate_arrays(arrays, classes)
    results: dict[str, Any] = {
        "metrics": dict(scores.values),
        "images": len(images),
        "objects": sum(scored.num_objects for scored in scores.classes),
        "detections": sum(map(len, found)),
        "classes": [_class_results(scored) for scored in scores.classes],
        "errors": {name: asdict(each) for name, each in split_errors(arrays, classes).items()},
        "confusion": _confusion(images, classes),
    }
    if config.voc_ap:
        _add_voc(results, evaluate_voc(truths, found, classes))
    return results


def _class_results(scored: ClassScores) -> dict[str, Any]:
    return {
        "label": scored.info.label,
        "name": scored.info.name,
        "objects": scored.num_objects,
        "ap": scored.ap,
        "ap50": scored.ap50,
        "precision_at_recall": [round(value, 4) for value in scored.precision.tolist()]
        if scored.num_objects
        else None,
    }


def _add_voc(results: dict[str, Any], per_class: Sequence[dict[str, float | None]]) -> None:
    """Add the values of each class, and their mean over the classes with objects."""
    for row, values in zip(results["classes"], per_class, strict=True):
        row |= values
    for name in VOC_METRICS:
        measured = [value for values in per_class if (value := values[name]) is not None]
        results["metrics"][name] = sum(measured) / len(measured) if measured else None


def _confusion(
    images: Sequence[EvaluatedImage], classes: Sequence[ClassInfo]
) -> dict[str, Any] | None:
    """Return one row per true class and one column per detected class, the background last."""
    if len(classes) > _MAX_CONFUSED:
        return None
    pairs = ((image.truth, image.found) for image in images)
    return {
        "classes": [*(info.name for info in classes), "background"],
        "matrix": confusion_matrix(pairs, len(classes)).tolist(),
    }
