"""Everything that is known about the accuracy of detections, as the content of a results file."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from ssd_core.config import EvaluateConfig
from ssd_core.evaluation.bootstrap import measure_intervals
from ssd_core.evaluation.coco import (
    SIZES,
    ClassScores,
    calibrate,
    count_sizes,
    join_images,
    match_arrays,
    score_aspects,
    score_classes,
    split_errors,
)
from ssd_core.evaluation.diagnosis import (
    MIN_SCORE,
    Matches,
    confusion_matrix,
    find_matches,
    operating_points,
    rank_images,
    threshold_curves,
)
from ssd_core.evaluation.iou_matches import match_at_ious
from ssd_core.evaluation.run import EvaluatedImage
from ssd_core.evaluation.voc import VOC_METRICS, evaluate_voc
from ssd_core.structures import ClassInfo, IntArray

_MAX_CONFUSED = 100
"""Largest number of classes for which a confusion matrix is legible."""
_NUM_CONDENSED = 50
"""Classes with a row of their own where there are more."""
_MAX_WORST = 50
_CLASS_METRICS = ("ap", "ap50", "ap_small", "ap_medium", "ap_large")


def measure_accuracy(
    images: Sequence[EvaluatedImage], classes: Sequence[ClassInfo], config: EvaluateConfig
) -> dict[str, Any]:
    """Return the content of `results.json`; `classes` are in label order."""
    truths, found = [image.truth for image in images], [image.found for image in images]
    arrays = join_images(truths, found)
    evaluator = match_arrays(arrays, classes)
    scores = score_classes(evaluator, arrays, classes)
    matches = find_matches(arrays, evaluator)
    sizes = count_sizes(arrays, len(classes))
    aspects = score_aspects(arrays, classes)
    num_objects = sum(scored.num_objects for scored in scores.classes)
    calibration_error, bins = calibrate(evaluator)
    results: dict[str, Any] = {
        "metrics": scores.values
        | {f"ap_{aspect}": ap for aspect, (_, ap) in aspects.items()}
        | operating_points(matches, num_objects)
        | {"calibration_error": calibration_error},
        "intervals": measure_intervals(match_at_ious(arrays, classes)),
        "images": len(images),
        "objects": num_objects,
        "sizes": {size: int(counts.sum()) for size, counts in sizes.items()},
        "aspects": {aspect: count for aspect, (count, _) in aspects.items()},
        "detections": sum(map(len, found)),
        "classes": [
            _class_results(scored, own, sizes)
            for scored, own in zip(scores.classes, matches.by_label(len(classes)), strict=True)
        ],
        "errors": {name: asdict(each) for name, each in split_errors(evaluator).items()},
        "thresholds": threshold_curves(matches, num_objects),
        "calibration": bins,
        "min_score": MIN_SCORE,
        "confusion": _confusion(confusion_matrix(arrays, matches, classes), classes),
        "worst_images": [
            {"row": image.row, "image_id": image.image_id, **counts}
            for number, counts in rank_images(arrays, matches)[:_MAX_WORST]
            for image in [images[number]]
        ],
    }
    if config.voc_ap:
        _add_voc(results, evaluate_voc(truths, found, classes))
    return results


def _class_results(
    scored: ClassScores, own: Matches, sizes: Mapping[str, IntArray]
) -> dict[str, Any]:
    """Return one class: AP and objects by size, thresholds, and the errors at MIN_SCORE."""
    label, num_objects = scored.info.label, scored.num_objects
    is_right = own.is_right[own.scores >= MIN_SCORE]
    return {
        "label": label,
        "name": scored.info.name,
        "objects": num_objects,
        "sizes": {size: int(sizes[size][label]) for size in SIZES},
        **{name: scored.values[name] for name in _CLASS_METRICS},
        **operating_points(own, num_objects),
        "missed": num_objects - int(is_right.sum()),
        "false": int((~is_right).sum()),
        "precision_at_recall": [round(value, 4) for value in scored.precision.tolist()]
        if num_objects
        else None,
    }


def _add_voc(results: dict[str, Any], per_class: Sequence[dict[str, float | None]]) -> None:
    """Add the values of each class, and their mean over the classes with objects."""
    for row, values in zip(results["classes"], per_class, strict=True):
        row |= values
    for name in VOC_METRICS:
        measured = [value for values in per_class if (value := values[name]) is not None]
        results["metrics"][name] = sum(measured) / len(measured) if measured else None


def _confusion(matrix: IntArray, classes: Sequence[ClassInfo]) -> dict[str, Any]:
    """Return one row per true class and one column per detected class, the background last.

    Of very many classes those with most errors are kept, and the others share one row.
    """
    names, among_others = [info.name for info in classes], 0
    if len(classes) > _MAX_CONFUSED:
        errors = (matrix.sum(axis=0) + matrix.sum(axis=1) - 2 * matrix.diagonal())[:-1]
        kept = np.sort(np.argsort(-errors, kind="stable")[:_NUM_CONDENSED])
        names = [*(names[k] for k in kept), f"{len(names) - _NUM_CONDENSED} others"]
        matrix, among_others = _condense(matrix, kept)
    return {
        "classes": [*names, "background"],
        "matrix": matrix.tolist(),
        "among_others": among_others,
    }


def _condense(matrix: IntArray, kept: IntArray) -> tuple[IntArray, int]:
    """Add up the rows and columns of the classes that are not kept.

    Their confusions with one another would land on the diagonal, which has only matches, so they
    are counted separately.
    """
    others, background = len(kept), len(kept) + 1
    rows = np.full(len(matrix), others)
    rows[kept], rows[-1] = range(others), background
    condensed = np.zeros((background + 1,) * 2, np.int64)
    np.add.at(condensed, (rows[:, None], rows[None]), matrix)
    all_among_others = condensed[others, others]
    condensed[others, others] = matrix.diagonal()[rows == others].sum()
    return condensed, int(all_among_others - condensed[others, others])
