"""Confusions counted by hand; thresholds, calibration and images against pycocotools' matches."""

import numpy as np
import pytest

from ssd_core.config import EvaluateConfig
from ssd_core.evaluation.accuracy import measure_accuracy
from ssd_core.evaluation.check import run_pycocotools
from ssd_core.evaluation.diagnosis import judge_image
from ssd_core.evaluation.run import EvaluatedImage
from ssd_core.structures import ClassInfo, make_annotations
from tests.detections import NOTHING_FOUND, make_detections
from tests.evaluation.oracle import make_ground_truth, make_results
from tests.evaluation.random_sets import make_classes, random_set

LEFT, RIGHT, FAR = [0, 0, 10, 10], [20, 0, 30, 10], [50, 50, 60, 60]
CAT, DOG, BACKGROUND = 0, 1, 2


CLASSES = [ClassInfo(label=k, name=name, category_id=k) for k, name in ((1, "cat"), (2, "dog"))]


def measure(truths, found, classes=CLASSES):
    images = enumerate(zip(truths, found, strict=True))
    return measure_accuracy(
        [EvaluatedImage(k, 10 * k, *image) for k, image in images], classes, EvaluateConfig()
    )


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
            found((LEFT, 0.9, 2), (LEFT, 0.8, 1)),
            {(CAT, CAT): 1, (BACKGROUND, DOG): 1},
            id="the right class finds it, as for AP",
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
        results = measure([objects] * times, [detections] * times)
        matrix = np.array(results["confusion"]["matrix"])
        cells = {(int(row), int(column)) for row, column in np.argwhere(matrix)}
        assert {cell: matrix[cell] / times for cell in cells} == expected


def test_of_very_many_classes_those_with_most_errors_have_a_row():
    classes = [ClassInfo(label=k, name=f"c{k}", category_id=k) for k in range(1, 121)]
    rows = [([0, 0, 10 + k, 10], k) for k in range(1, 121)]
    truths = [truth(row) for row in rows]
    confused = {label: 120 - label for label in range(1, 11)}  # 1 as 119, and so on
    detections = [found((box, 0.9, confused.get(label, label))) for box, label in rows]
    table = measure(truths, detections, classes)["confusion"]
    matrix = np.array(table["matrix"])
    assert matrix.shape == (52, 52)
    assert table["classes"][-2:] == ["70 others", "background"]
    assert {f"c{k}" for pair in confused.items() for k in pair} <= set(table["classes"])
    assert matrix.sum() == 120
    assert matrix[table["classes"].index("c1"), table["classes"].index("c119")] == 1


@pytest.mark.parametrize(("shift", "num_right"), [(0, 150), (1, 0)])
def test_only_matches_are_on_the_diagonal_of_very_many_classes(shift, num_right):
    classes = [ClassInfo(label=k, name=f"c{k}", category_id=k) for k in range(1, 151)]
    truths = [truth((LEFT, label)) for label in range(1, 151)]
    detections = [found((LEFT, 0.9, 1 + (label + shift) % 150)) for label in range(150)]
    table = measure(truths, detections, classes)["confusion"]
    matrix = np.array(table["matrix"])
    assert matrix.trace() == num_right
    assert matrix.sum() + table["among_others"] == 150
    assert (table["among_others"] > 0) == (shift > 0)


def pycocotools_rows(truths, found, classes):
    """Return image, class, score and whether it is right per detection that counts at IoU .5."""
    plain = make_classes(len(classes), gap=1)
    ids = range(1, len(truths) + 1)
    evaluator, _ = run_pycocotools(
        make_ground_truth(ids, truths, plain), make_results(ids, found, plain)
    )
    return [
        (cell["image_id"], cell["category_id"], score, match > 0)
        for cell in evaluator.evalImgs
        if cell and cell["aRng"] == [0, 1e10]
        for score, match, is_ignored in zip(
            cell["dtScores"], cell["dtMatches"][0], cell["dtIgnore"][0], strict=True
        )
        if not is_ignored
    ]


def points(rows, num_objects):
    """Return (score, precision, recall) for every score as a threshold."""
    for threshold in {score for *_, score, _ in rows}:
        hits = [right for *_, score, right in rows if score >= threshold]
        yield threshold, sum(hits) / len(hits), sum(hits) / num_objects


@pytest.mark.parametrize("seed", range(3))
def test_thresholds_calibration_and_errors_follow_from_the_matches_of_pycocotools(seed):
    truths, detections, classes = random_set(seed)
    rows = pycocotools_rows(truths, detections, classes)
    results = measure(truths, detections, classes)
    each_class = [
        (row, [each for each in rows if each[1] == row["label"]]) for row in results["classes"]
    ]
    for values, own in (
        (results["metrics"] | {"objects": results["objects"]}, rows),
        *((row, own) for row, own in each_class if row["objects"]),
    ):
        curve = list(points(own, values["objects"]))
        f1 = {score: 2 * p * r / (p + r) if p + r else 0 for score, p, r in curve}
        assert values["f1"] == pytest.approx(max(f1.values()))
        assert values["f1"] == pytest.approx(f1.get(values["f1_threshold"], 0))
        reached = [(r, score) for score, p, r in curve if p >= 0.9]
        recall, score = max(reached, default=(0.0, None))
        assert values["recall_at_precision_90"] == pytest.approx(recall)
        assert not recall or values["threshold_at_precision_90"] <= score
    for row, own in each_class:
        sure = [right for *_, score, right in own if score >= 0.5]
        assert (row["missed"], row["false"]) == (
            row["objects"] - sum(sure),
            len(sure) - sum(sure),
        )
        assert (
            row["objects"] - row["missed"]
            == (results["confusion"]["matrix"][row["label"] - 1][row["label"] - 1])
        )
    bins = [[row for row in rows if min(int(10 * row[2]), 9) == low] for low in range(10)]
    gaps = [abs(sum(right - score for *_, score, right in own)) for own in bins]
    assert results["metrics"]["calibration_error"] == pytest.approx(sum(gaps) / len(rows))
    worst = results["worst_images"][0]
    own = [right for image, _, score, right in rows if image == worst["row"] + 1 and score >= 0.5]
    assert worst["false"] == len(own) - sum(own)
    assert worst["missed"] == worst["objects"] - sum(own)
    errors = [each["missed"] + each["false"] for each in results["worst_images"]]
    assert errors == sorted(errors, reverse=True)


def test_objects_are_counted_by_size_and_a_border_belongs_to_both():
    areas = [1, 32**2, 96**2, 96**2 + 1, 5]
    truths = make_annotations(
        [LEFT] * 5, [1, 1, 1, 2, 2], areas=areas, is_crowd=[False] * 4 + [True]
    )
    results = measure([truths], [NOTHING_FOUND])
    assert results["sizes"] == {"small": 2, "medium": 2, "large": 2}
    assert results["classes"][1]["sizes"] == {"small": 0, "medium": 0, "large": 1}


def test_without_detections_or_objects_there_is_no_threshold():
    missed = measure([truth((LEFT, 1))], [NOTHING_FOUND])
    assert missed["metrics"].items() >= {"f1": 0.0, "f1_threshold": None}.items()
    assert missed["metrics"]["recall_at_precision_90"] == 0
    assert missed["worst_images"] == [
        {"row": 0, "image_id": 0, "objects": 1, "missed": 1, "false": 0}
    ]
    invented = measure([NOTHING], [found((LEFT, 0.9, 1))])
    assert invented["metrics"]["f1"] is None
    assert invented["thresholds"]["threshold"] == []


def test_an_image_is_judged_box_by_box():
    objects = truth((LEFT, 1), (RIGHT, 2), (FAR, 2), is_crowd=[False, False, True])
    detections = found((RIGHT, 0.9, 1), (LEFT, 0.8, 1), (FAR, 0.7, 2))
    judged = judge_image(objects, detections, CLASSES)
    is_right, is_false, is_found = (each.tolist() for each in judged)
    assert is_right == [False, True, False]
    assert is_false == [True, False, False]  # the last one is on a crowd
    assert is_found == [True, False, False]
