"""Confusion of classes, counted by hand."""

import numpy as np

from ssd_core.evaluation.confusion import confusion_matrix
from ssd_core.structures import Detections, make_annotations

LEFT, RIGHT, FAR = [0, 0, 10, 10], [20, 0, 30, 10], [50, 50, 60, 60]
CAT, DOG, NOTHING = 0, 1, 2


def found(*rows):
    """Detections of (box, label, score)."""
    return Detections(
        boxes=np.array([row[0] for row in rows], np.float32).reshape(-1, 4),
        labels=np.array([row[1] for row in rows], np.int64),
        scores=np.array([row[2] for row in rows], np.float32),
    )


def counts(truth, detections):
    """Cells of the matrix that are not 0."""
    matrix = confusion_matrix([(truth, detections)], 2)
    return {
        (int(row), int(column)): int(matrix[row, column]) for row, column in np.argwhere(matrix)
    }


def test_found_confused_missed_and_invented():
    truth = make_annotations([LEFT, RIGHT, FAR], [1, 2, 2])
    detections = found((LEFT, 1, 0.9), (RIGHT, 1, 0.8), ([80, 0, 90, 10], 2, 0.7))
    assert counts(truth, detections) == {
        (CAT, CAT): 1,
        (DOG, CAT): 1,
        (DOG, NOTHING): 1,
        (NOTHING, DOG): 1,
    }


def test_an_object_is_found_once_by_the_best():
    truth = make_annotations([LEFT], [1])
    assert counts(truth, found((LEFT, 1, 0.9), (LEFT, 2, 0.8))) == {
        (CAT, CAT): 1,
        (NOTHING, DOG): 1,
    }


def test_weak_detections_do_not_count():
    assert counts(make_annotations([LEFT], [1]), found((LEFT, 1, 0.4))) == {(CAT, NOTHING): 1}


def test_little_overlap_is_no_hit():
    assert counts(make_annotations([LEFT], [1]), found(([5, 0, 15, 10], 1, 0.9))) == {
        (CAT, NOTHING): 1,
        (NOTHING, CAT): 1,
    }


def test_a_crowd_is_neither_missed_nor_a_mistake():
    truth = make_annotations([LEFT, RIGHT], [1, 2], is_crowd=[True, False])
    assert counts(truth, found((LEFT, 1, 0.9), (RIGHT, 2, 0.8))) == {(DOG, DOG): 1}


def test_nothing_at_all():
    assert counts(make_annotations([], []), found()) == {}
    assert counts(make_annotations([LEFT], [2]), found()) == {(DOG, NOTHING): 1}
    assert counts(make_annotations([], []), found((LEFT, 2, 0.9))) == {(NOTHING, DOG): 1}


def test_images_add_up():
    image = (make_annotations([LEFT], [1]), found((LEFT, 1, 0.9)))
    assert confusion_matrix([image] * 3, 2)[CAT, CAT] == 3
