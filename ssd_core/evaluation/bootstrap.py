"""How far average precision varies with the choice of the images (Efron 1979, the bootstrap).

A resample draws as many images as there are, with replacement. An image that it draws twice counts
twice, so weights of the images take the place of another evaluation.
"""

import numpy as np
from numpy.typing import NDArray

from ssd_core.evaluation.coco import IOUS, RECALL_GRID
from ssd_core.evaluation.iou_matches import IouMatches
from ssd_core.structures import Array, BoolArray, IntArray

CONFIDENCE = 0.95
MIN_IMAGES = 10
"""Resamples of fewer images are too much alike for an interval."""
THRESHOLDS = {"ap": slice(None), "ap50": slice(0, 1), "ap75": slice(5, 6)}
"""The metrics that have an interval: the part of IOUS that each averages."""

_SEED = 0
_NUM_RESAMPLES = (200, 1000)
"""Smallest and largest number."""
_WORK = 10**8
"""Detections in all resamples, about: a few seconds."""
_BLOCK = 2**20
"""Numbers that are computed at once, about."""


def measure_intervals(matches: IouMatches) -> dict[str, tuple[float, float] | None]:
    """Return the interval of each metric of THRESHOLDS; None without objects or with few images."""
    ap = weighted_ap(matches, draw_images(matches))
    return {
        name: spread and (max(spread[0], 0.0), min(spread[1], 1.0))
        for name, part in THRESHOLDS.items()
        for spread in [interval(average(ap[:, :, part]))]
    }


def draw_images(*compared: IouMatches) -> IntArray:
    """Return the weights of the images, [1 + R, images]: all 1, then the counts of R resamples.

    Evaluations of the same images that are `compared` share their resamples. There are none with
    fewer than MIN_IMAGES.
    """
    num_images, rng = compared[0].num_images, np.random.default_rng(_SEED)
    most = max(len(matches.labels) for matches in compared)
    num_resamples = int(np.clip(_WORK // max(most, 1), *_NUM_RESAMPLES))
    counts = [
        np.bincount(rng.integers(num_images, size=num_images), minlength=num_images)
        for _ in range(num_resamples if num_images >= MIN_IMAGES else 0)
    ]
    return np.array([np.ones(num_images), *counts], np.int64)


def weighted_ap(matches: IouMatches, weights: IntArray) -> NDArray[np.float64]:
    """Return AP [R, classes, 10] by the thresholds of IOUS for R weights of each image.

    NaN stands for a class without objects. With weights of 1 the values are those of COCO, to 1e-9;
    with other integers those of a set that repeats images, unless different images have equal
    scores, whose order is arbitrary.
    """
    ap = np.full((len(weights), matches.num_classes, len(IOUS)), np.nan)
    for column in range(matches.num_classes):
        objects = matches.object_images[matches.object_labels == column + 1]
        if not len(objects):
            continue
        rows = slice(*np.searchsorted(matches.labels, [column + 1, column + 2]))
        found = (matches.images[rows], matches.is_right[:, rows], matches.is_ignored[:, rows])
        num_blocks = 1 + len(weights) * max(len(objects), len(found[0])) // _BLOCK
        blocks = np.array_split(weights, num_blocks)
        ap[:, column] = np.concatenate([_class_ap(block, objects, *found) for block in blocks])
    return ap


def average(ap: Array) -> NDArray[np.float64]:
    """Return the mean over classes and thresholds, [R]; NaN without objects of any class."""
    is_measured = np.isfinite(ap).all(axis=-1)
    with np.errstate(invalid="ignore"):
        means: NDArray[np.float64] = np.nansum(ap.mean(axis=-1), axis=1) / is_measured.sum(axis=1)
    return means


def interval(values: Array) -> tuple[float, float] | None:
    """Return the 95 % interval of the first value from the others, its resamples.

    It is the basic bootstrap interval (Davison and Hinkley 1997, section 5.2.1): resamples repeat
    images, which raises AP, and here this bias cancels. NaN is left out; without a value or
    resamples there is no interval.
    """
    resampled = values[1:][np.isfinite(values[1:])]
    if not (len(resampled) and np.isfinite(values[0])):
        return None
    tails = np.quantile(resampled, [(1 + CONFIDENCE) / 2, (1 - CONFIDENCE) / 2])
    low, high = (2 * values[0] - tails).tolist()
    return low, high


def _class_ap(
    weights: IntArray, objects: IntArray, images: IntArray, is_right: BoolArray, ignored: BoolArray
) -> Array:
    """Return the AP of one class, [R, 10]; `objects` and `images` are the images of each."""
    num_objects = weights[:, objects].sum(axis=1, keepdims=True)
    seen = _running_sum(weights, images)
    columns = []
    for right, hidden in zip(
        map(np.flatnonzero, is_right), map(np.flatnonzero, ignored), strict=True
    ):
        num_right = _running_sum(weights, images[right])[:, 1:]
        num_hidden = _running_sum(weights, images[hidden])[:, np.searchsorted(hidden, right)]
        num_found = np.take(seen, right + 1, axis=1) - num_hidden
        precision = num_right / np.maximum(num_found, 1)
        best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        reached = np.searchsorted(RECALL_GRID, num_right / np.maximum(num_objects, 1), side="right")
        new = np.diff(reached, axis=1, prepend=0)
        columns.append((best * new).sum(axis=1) / len(RECALL_GRID))
    ap: Array = np.where(num_objects > 0, np.stack(columns, axis=1), np.nan)
    return ap


def _running_sum(weights: IntArray, images: IntArray) -> IntArray:
    """Return [R, 1 + len(images)] sums of the weights of these images, from 0."""
    sums = np.zeros((len(weights), 1 + len(images)), np.int64)
    np.cumsum(np.take(weights, images, axis=1), axis=1, out=sums[:, 1:])
    return sums
