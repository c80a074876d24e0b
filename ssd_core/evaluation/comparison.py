"""The difference between two evaluations of the same images."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from ssd_core.errors import UsageError
from ssd_core.evaluation.bootstrap import (
    MIN_IMAGES,
    THRESHOLDS,
    average,
    draw_images,
    interval,
    weighted_ap,
)
from ssd_core.evaluation.coco import CocoArrays, join_images, match_arrays
from ssd_core.evaluation.diagnosis import MIN_SCORE, find_matches
from ssd_core.evaluation.iou_matches import IouMatches, match_at_ious
from ssd_core.evaluation.run import EvaluatedImage
from ssd_core.structures import Array, BoolArray, ClassInfo

_MAX_CHANGED = 50

Evaluated = tuple[Sequence[EvaluatedImage], Sequence[ClassInfo]]
"""The images of an evaluation and its classes in label order."""


def check_comparable(a: Evaluated, b: Evaluated) -> None:
    """Check that two evaluations are of the same classes, images and objects.

    Raises:
        UsageError: they differ; the message names the first difference.
    """
    problem = _find_difference(a, b)
    if problem:
        raise UsageError(f"A and B are not comparable: {problem}; evaluate both on the same data")


def compare_evaluations(a: Evaluated, b: Evaluated) -> dict[str, Any]:
    """Return how B differs from A, as the content of `results.json`.

    The interval of a difference is that of a paired bootstrap: every resample takes the same images
    of both.
    """
    classes = a[1]
    arrays = [_join(images) for images, _ in (a, b)]
    matches = [match_at_ious(each, classes) for each in arrays]
    weights = draw_images(*matches)
    changed = _rank_changes(a, arrays)
    ap_a, ap_b = (weighted_ap(each, weights) for each in matches)
    return {
        "images": len(a[0]),
        "objects": len(matches[0].object_images),
        "overall": {
            name: _difference(average(ap_a[:, :, part]), average(ap_b[:, :, part]))
            for name, part in THRESHOLDS.items()
        },
        "classes": [
            _compare_class(info, matches[0], ap_a[:, column], ap_b[:, column])
            for column, info in enumerate(classes)
        ],
        "min_score": MIN_SCORE,
        "num_changed_images": len(changed),
        "changed_images": changed[:_MAX_CHANGED],
    }


def _find_difference(a: Evaluated, b: Evaluated) -> str | None:
    (images_a, classes_a), (images_b, classes_b) = a, b
    named_a, named_b = ({(c.name, c.category_id) for c in each} for each in (classes_a, classes_b))
    if named_a != named_b:
        only_a, only_b = dict(named_a - named_b), dict(named_b - named_a)
        name, number = min((only_a | only_b).items())
        if name in only_a and name in only_b:
            return f"class '{name}' has category id {only_a[name]} in A and {only_b[name]} in B"
        return f"only one of them has the class '{name}' with category id {number}"
    ids_a, ids_b = ({each.image_id for each in images} for images in (images_a, images_b))
    if others := ids_a ^ ids_b:
        return f"only one of them has the image {min(others)} ({len(others):,} such images)"
    truths_a, truths_b = (_join(images) for images in (images_a, images_b))
    for name in ("images", "labels", "boxes", "areas", "is_crowd"):
        if not np.array_equal(getattr(truths_a, name), getattr(truths_b, name)):
            return _find_other_path(images_a, images_b) or (
                "their ground truth has other objects in the same images"
            )
    return None


def _find_other_path(a: Sequence[EvaluatedImage], b: Sequence[EvaluatedImage]) -> str | None:
    """Return the first image with another path; every split numbers its images from 0."""
    paths = {image.image_id: image.path for image in b}
    for image in a:
        if image.path != (other := paths[image.image_id]):
            return f"image {image.image_id} is {image.path} in A and {other} in B"
    return None


def _join(images: Sequence[EvaluatedImage]) -> CocoArrays:
    return join_images([image.truth for image in images], [image.found for image in images])


def _compare_class(info: ClassInfo, matches: IouMatches, a: Array, b: Array) -> dict[str, Any]:
    """Return the AP of one class from [1 + R, 10]; few images are too few for its interval."""
    images = matches.object_images[matches.object_labels == info.label]
    rows = slice(None) if len(np.unique(images)) >= MIN_IMAGES else slice(1)
    difference = _difference(a.mean(axis=-1)[rows], b.mean(axis=-1)[rows])
    return {"label": info.label, "name": info.name, "objects": len(images), **difference}


def _difference(a: Array, b: Array) -> dict[str, Any]:
    """Compare two values, each followed by those of its resamples; None without objects."""
    spread = interval(b - a)
    is_measured = bool(np.isfinite(a[0]))
    return {
        "a": float(a[0]) if is_measured else None,
        "b": float(b[0]) if is_measured else None,
        "difference": float(b[0] - a[0]) if is_measured else None,
        "interval": spread,
        "verdict": _judge(spread),
    }


def _judge(spread: tuple[float, float] | None) -> str:
    low, high = spread or (0.0, 0.0)
    if low > 0:
        return "better"
    return "worse" if high < 0 else "not distinguishable"


def _rank_changes(a: Evaluated, arrays: Sequence[CocoArrays]) -> list[dict[str, Any]]:
    """Return the images with objects that only one found, most of them first."""
    images, classes = a
    found_a, found_b = (_is_found(each, classes) for each in arrays)
    only_a = _count_names(arrays[0], found_a & ~found_b, classes)
    only_b = _count_names(arrays[0], found_b & ~found_a, classes)
    counts = [
        (in_a.total() + in_b.total(), {"only_a": dict(in_a), "only_b": dict(in_b)})
        for in_a, in_b in zip(only_a, only_b, strict=True)
    ]
    order = sorted(range(len(images)), key=lambda number: -counts[number][0])
    return [
        {"row": number, "image_id": images[number].image_id, "path": images[number].path}
        | counts[number][1]
        for number in order
        if counts[number][0]
    ]


def _count_names(
    arrays: CocoArrays, mask: BoolArray, classes: Sequence[ClassInfo]
) -> list[Counter[str]]:
    """Count the objects of a mask in each image by class name."""
    counts = [Counter[str]() for _ in range(arrays.num_images)]
    for number, label in zip(arrays.images[mask], arrays.labels[mask], strict=True):
        counts[number - 1][classes[label - 1].name] += 1
    return counts


def _is_found(arrays: CocoArrays, classes: Sequence[ClassInfo]) -> BoolArray:
    """Return which objects a detection of at least MIN_SCORE has found at IoU .5, [G]."""
    matches = find_matches(arrays, match_arrays(arrays, classes))
    targets = matches.targets[matches.is_right & (matches.scores >= MIN_SCORE)]
    is_found = np.zeros(len(arrays.labels), np.bool_)
    is_found[targets] = True
    return is_found
