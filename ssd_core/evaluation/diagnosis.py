"""Which detection found which object, as AP at IoU .5 has it, and the errors that follow."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssd_core.config import SCORE_THRESHOLD
from ssd_core.evaluation.coco import (
    CocoArrays,
    count_confusions,
    find_targets,
    join_images,
    match_arrays,
)
from ssd_core.structures import Annotations, BoolArray, ClassInfo, Detections, IntArray

MIN_SCORE = SCORE_THRESHOLD
"""Lowest score of a detection that counts as a confusion or as an error of an image."""
MIN_PRECISION = 0.9
"""The precision of `recall_at_precision_90`."""
SCORE_GRID = np.linspace(0.0, 1.0, 101)
"""Thresholds at which precision, recall and F1 are sampled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Matches:
    """D detections, best score first; those that AP leaves out, for example on crowds, are not in.

    The detection with the best score takes its object first, of the free ones of its class the one
    that it overlaps most. So the detections above a threshold match as if there were no others.
    """

    images: IntArray
    """[D] numbers from 1."""
    labels: IntArray
    """[D] 1..K."""
    scores: NDArray[np.float64]
    """[D]."""
    rows: IntArray
    """[D] rows of the detections in the arrays."""
    targets: IntArray
    """[D] rows of the objects in the arrays; -1 for a false detection."""

    @property
    def is_right(self) -> BoolArray:
        """[D] whether the detection found an object."""
        return self.targets >= 0

    def select(self, mask: BoolArray | IntArray) -> "Matches":
        """Return the matches of a mask over D, or of indices."""
        columns = ("images", "labels", "scores", "rows", "targets")
        return Matches(**{name: getattr(self, name)[mask] for name in columns})

    def by_label(self, num_classes: int) -> list["Matches"]:
        """Return the matches of each label from 1."""
        order = np.argsort(self.labels, kind="stable")
        borders = np.searchsorted(self.labels[order], range(2, num_classes + 1))
        return [self.select(rows) for rows in np.split(order, borders)]


def find_matches(arrays: CocoArrays, evaluator: Any) -> Matches:
    """Return the matches of arrays and of their evaluator, see `match_arrays`."""
    rows, targets = find_targets(evaluator)
    scores = arrays.detections[rows, 5]
    order = np.lexsort((rows, -scores))
    rows = rows[order]
    return Matches(
        images=arrays.detections[rows, 0].astype(np.int64),
        labels=arrays.detections[rows, 6].astype(np.int64),
        scores=scores[order],
        rows=rows,
        targets=targets[order],
    )


def judge_image(
    truth: Annotations, found: Detections, classes: Sequence[ClassInfo]
) -> tuple[BoolArray, BoolArray, BoolArray]:
    """Return which detections of one image are right, which are false, and which objects are found.

    Detections that AP leaves out, for example on crowds, are neither right nor false.
    """
    arrays = join_images([truth], [found])
    matches = find_matches(arrays, match_arrays(arrays, classes))
    is_right, is_false = np.zeros((2, len(found)), np.bool_)
    is_right[matches.rows[matches.is_right]] = True
    is_false[matches.rows[~matches.is_right]] = True
    is_found = np.zeros(len(truth), np.bool_)
    is_found[matches.targets[matches.is_right]] = True
    return is_right, is_false, is_found


def confusion_matrix(
    arrays: CocoArrays, matches: Matches, classes: Sequence[ClassInfo]
) -> IntArray:
    """Return [K + 1, K + 1] counts of detections by true class (row) and found class (column).

    The last row and column are background: the column counts missed objects, the row detections
    without an object. The diagonal has the matches of AP among the detections of at least
    MIN_SCORE. Each of the others, best score first, takes the object that it overlaps most of those
    that are left, whatever its class, if their IoU is at least .5.
    """
    sure = matches.select(matches.scores >= MIN_SCORE)
    is_left = ~arrays.is_crowd
    is_left[sure.targets[sure.is_right]] = False
    rest = replace(
        arrays,
        **{
            name: getattr(arrays, name)[is_left]
            for name in ("images", "labels", "boxes", "areas", "is_crowd")
        },
        detections=arrays.detections[sure.rows[~sure.is_right]],
    )
    matrix = count_confusions(rest, classes)
    right = np.bincount(sure.labels[sure.is_right] - 1, minlength=len(matrix))
    return matrix + np.diag(right)


def operating_points(matches: Matches, num_objects: int) -> dict[str, float | None]:
    """Return the best F1, the recall at precision .9, and the score threshold of each.

    Nothing is measured without objects; there is no threshold for a recall of 0.
    """
    scores, precision, recall = _curve(matches, num_objects)
    if not num_objects:
        return dict.fromkeys(
            ("f1", "f1_threshold", "recall_at_precision_90", "threshold_at_precision_90")
        )
    f1 = _f1(precision, recall)
    best = int(f1.argmax()) if f1.any() else None
    reached = np.flatnonzero((precision >= MIN_PRECISION) & (recall > 0))
    last = int(reached[-1]) if len(reached) else None
    return {
        "f1": 0.0 if best is None else float(f1[best]),
        "f1_threshold": None if best is None else float(scores[best]),
        "recall_at_precision_90": 0.0 if last is None else float(recall[last]),
        "threshold_at_precision_90": None if last is None else float(scores[last]),
    }


def threshold_curves(matches: Matches, num_objects: int) -> dict[str, list[float]]:
    """Return precision, recall and F1 of all classes together by score threshold.

    Thresholds are those of SCORE_GRID that a detection reaches; none without objects or detections.
    """
    if not num_objects or not len(matches.scores):
        return {name: [] for name in ("threshold", "precision", "recall", "f1")}
    scores, precision, recall = _curve(matches, num_objects)
    reached = SCORE_GRID[: np.searchsorted(SCORE_GRID, scores[0], side="right")]
    points = np.searchsorted(-scores, -reached, side="right") - 1
    columns = {
        "threshold": reached,
        "precision": precision[points],
        "recall": recall[points],
        "f1": _f1(precision[points], recall[points]),
    }
    return {name: column.round(4).tolist() for name, column in columns.items()}


def rank_images(arrays: CocoArrays, matches: Matches) -> list[tuple[int, dict[str, int]]]:
    """Return the images with errors at MIN_SCORE, most errors first: number from 0, and counts.

    An error is a false detection, or an object without a detection of its class.
    """
    sure = matches.select(matches.scores >= MIN_SCORE)
    objects, found, false = (
        np.bincount(numbers - 1, minlength=arrays.num_images)
        for numbers in (
            arrays.images[~arrays.is_crowd],
            sure.images[sure.is_right],
            sure.images[~sure.is_right],
        )
    )
    missed = objects - found
    order = np.argsort(-(missed + false), kind="stable")
    return [
        (k, {"objects": int(objects[k]), "missed": int(missed[k]), "false": int(false[k])})
        for k in order[: np.count_nonzero(missed + false)].tolist()
    ]


def _curve(
    matches: Matches, num_objects: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return every score once, downwards, with precision and recall of those of at least it."""
    scores, counts = np.unique(-matches.scores, return_counts=True)
    taken = np.cumsum(counts)
    hits = np.cumsum(matches.is_right)[taken - 1].astype(np.float64)
    return -scores, hits / taken, hits / max(num_objects, 1)


def _f1(precision: NDArray[np.float64], recall: NDArray[np.float64]) -> NDArray[np.float64]:
    total = precision + recall
    return np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)
