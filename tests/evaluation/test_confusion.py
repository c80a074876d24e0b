"""Confusion of classes, counted by hand."""

import numpy as np
import pytest

from ssd_core.evaluation.confusion import confusion_matrix
from ssd_core.structures import make_annotations
from tests.detections import NOTHING_FOUND, make_detections

LEFT, RIGHT, FAR = [0, 0, 10, 10], [20, 0, 30, 10], [50, 50, 60, 60]
CAT, DOG, BACKGROUND = 0, 1, 2


def found(*rows):
    """Detections of (box, score, label)."""
    return make_detections(*zip(*rows, strict=True)) if rows else NOTHING_FOUND


def truth(*rows, is_crowd=None):
    """Annotations of (box, label)."""
    boxes, labels = [row[0] for row in rows], [row[1] for row in rows]
    return make_annotations(boxes, labels, is_crowd=is_crowd)


NOTHING = truth()


@pytest.mark.parametrize(
    ("objects", "detections", "expected"),
    [
        pytest.param(
            truth((LEFT, 1), (RIGHT, 2), (FAR, 2)),
            found((LEFT, 0.9, 1), (RIGHT, 0.8, 1), ([80, 0, 90, 10], 0.7, 2)),
            {(CAT, CAT): 1, (DOG, CAT): 1, (DOG, BACKGROUND): 1, (BACKGROUND, DOG): 1},
            id="right, confused, missed and invented",
        ),
        pytest.param(
            truth((LEFT, 1)),
            found((LEFT, 0.9, 1), (LEFT, 0.8, 2)),
            {(CAT, CAT): 1, (BACKGROUND, DOG): 1},
            id="an object is found once, by the best detection",
        ),
        pytest.param(
            truth((LEFT, 1)),
            found((LEFT, 0.4, 1)),
            {(CAT, BACKGROUND): 1},
            id="detections with low scores are ignored",
        ),
        pytest.param(
            truth((LEFT, 1)),
            found(([5, 0, 15, 10], 0.9, 1)),
            {(CAT, BACKGROUND): 1, (BACKGROUND, CAT): 1},
            id="a small overlap is not a match",
        ),
        pytest.param(
            truth((LEFT, 1), (RIGHT, 2), is_crowd=[True, False]),
            found((LEFT, 0.9, 1), (RIGHT, 0.8, 2)),
            {(DOG, DOG): 1},
            id="a crowd is neither missed nor a mistake",
        ),
        pytest.param(NOTHING, found(), {}, id="nothing at all"),
        pytest.param(truth((LEFT, 2)), found(), {(DOG, BACKGROUND): 1}, id="nothing found"),
        pytest.param(NOTHING, found((LEFT, 0.9, 2)), {(BACKGROUND, DOG): 1}, id="no object"),
    ],
)
def test_counts_of_one_image_and_of_several(objects, detections, expected):
    for times in (1, 3):
        matrix = confusion_matrix([(objects, detections)] * times, 2)
        cells = {(int(row), int(column)) for row, column in np.argwhere(matrix)}
        assert {cell: matrix[cell] / times for cell in cells} == expected
