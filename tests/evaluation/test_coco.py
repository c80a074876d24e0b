"""The twelve metrics against pycocotools, on random and on adversarial sets."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssd_core.errors import DataError
from ssd_core.evaluation.check import check_metrics, run_pycocotools
from ssd_core.evaluation.coco import (
    ASPECTS,
    evaluate_coco,
    format_summary,
    join_images,
    score_aspects,
)
from ssd_core.structures import make_annotations
from tests.detections import NOTHING_FOUND, make_detections
from tests.evaluation.oracle import make_ground_truth, make_results
from tests.evaluation.random_sets import make_classes, random_set


def assert_equal_to_pycocotools(truths, found, classes):
    scores = evaluate_coco(truths, found, classes)
    image_ids = [10 * number + 7 for number in range(len(truths))]
    rows = make_results(image_ids, found, classes)
    oracle, printed = run_pycocotools(make_ground_truth(image_ids, truths, classes), rows)
    ours = [-1 if value is None else value for value in scores.values.values()]
    np.testing.assert_allclose(ours, oracle.stats, rtol=0, atol=1e-9)
    assert format_summary(scores.values) == "\n".join(printed.splitlines()[-12:])
    check_metrics(scores.values, join_images(truths, found), classes)
    table, table_of_small = (oracle.eval["precision"][:, :, :, area, 2] for area in (0, 1))
    for column, scored in enumerate(scores.classes):
        cells = table[:, :, column]
        expected = cells[cells > -1].mean() if (cells > -1).any() else None
        assert scored.values["ap"] == pytest.approx(expected, abs=1e-9)
        small = table_of_small[:, :, column]
        expected = small[small > -1].mean() if (small > -1).any() else None
        assert scored.values["ap_small"] == pytest.approx(expected, abs=1e-9)
        np.testing.assert_allclose(scored.precision, cells[0], rtol=0, atol=1e-9)
    return scores


@pytest.mark.parametrize("seed", range(6))
def test_random_sets_equal_pycocotools(seed):
    scores = assert_equal_to_pycocotools(*random_set(seed))
    assert scores.values["ap"] > 0.05


@pytest.mark.parametrize("crowd", [0.0, 0.3])
def test_ap_by_aspect_is_that_of_pycocotools_with_the_aspect_as_area(crowd):
    truths, found, classes = random_set(7, num_images=30, crowd=crowd)
    arrays = join_images(truths, found)
    oracle, _ = run_pycocotools(
        make_ground_truth(range(1, 31), truths, make_classes(4, gap=1)), arrays.detections
    )
    rows = [*oracle.cocoGt.anns.values(), *oracle.cocoDt.anns.values()]
    for row in rows:
        row["area"] = row["bbox"][2] / row["bbox"][3]
    oracle.params.areaRng = list(ASPECTS.values())
    oracle.evaluate()
    oracle.accumulate()
    objects = [row["area"] for row in rows if not row.get("iscrowd", 0) and "score" not in row]
    for column, (name, (count, ap)) in enumerate(score_aspects(arrays, classes).items()):
        cells = oracle.eval["precision"][:, :, :, column, -1]
        assert ap == pytest.approx(cells[cells > -1].mean(), abs=1e-9)
        low, high = ASPECTS[name]
        assert count == sum(low <= aspect <= high for aspect in objects) > 5


def test_aspects_without_objects_or_with_flat_boxes_measure_nothing():
    flat = make_detections([[0, 5, 9, 5]], [0.9], [1])
    for found in (NOTHING_FOUND, flat):
        aspects = score_aspects(join_images([NO_OBJECTS], [found]), make_classes(1))
        assert aspects == dict.fromkeys(ASPECTS, (0, None))


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    num_images=st.integers(1, 5),
    crowd=st.sampled_from([0.0, 0.5, 1.0]),
)
def test_any_set_equals_pycocotools(seed, num_images, crowd):
    assert_equal_to_pycocotools(*random_set(seed, num_images, 2, crowd))


BIG, SMALL, FAR = [0, 0, 100, 100], [300, 300, 330, 330], [400, 400, 500, 500]
NO_OBJECTS, ONE = make_annotations([], []), make_detections([BIG], [0.9], [1])


@pytest.mark.parametrize(
    ("truth", "found", "expected"),
    [
        pytest.param(
            make_annotations([BIG, FAR], [1, 2]),
            make_detections([BIG, FAR], [0.9, 0.8], [1, 2]),
            {"ap": 1, "ap_small": None},
            id="perfect detections, no small objects",
        ),
        pytest.param(
            make_annotations([BIG, SMALL], [1, 1]),
            make_detections([FAR, BIG], [0.9, 0.8], [1, 1]),
            {"ap50": 51 / 101 / 2},  # precision 1/2 up to recall 1/2: 51 of the 101 recalls
            id="one miss and one false alarm",
        ),
        pytest.param(
            make_annotations([BIG], [1]), NOTHING_FOUND, {"ap": 0, "ar_100": 0}, id="nothing found"
        ),
        pytest.param(NO_OBJECTS, NOTHING_FOUND, {"ap": None, "ar_100": None}, id="nothing at all"),
        pytest.param(NO_OBJECTS, ONE, {"ap": None, "ar_100": None}, id="no objects"),
        pytest.param(
            make_annotations([SMALL], [1]),
            make_detections([BIG] * 100 + [SMALL], np.linspace(0.9, 0.1, 101), [1] * 101),
            {"ar_100": 0},
            id="more than a hundred detections are cut",
        ),
        pytest.param(
            make_annotations([BIG, SMALL], [1, 1], is_crowd=[True, False]),
            make_detections([[9, 9, 60, 60], [50, 50, 90, 90], SMALL], [0.9, 0.8, 0.7], [1] * 3),
            {"ap": 1},
            id="detections on a crowd cost nothing",
        ),
        pytest.param(
            make_annotations([BIG], [1], areas=[500.0]),
            ONE,
            {"ap_small": 1, "ap_medium": None},
            id="the area of the mask decides the size",
        ),
    ],
)
def test_edge_cases_equal_pycocotools(truth, found, expected):
    scores = assert_equal_to_pycocotools([truth], [found], make_classes(2))
    assert {name: scores.values[name] for name in expected} == pytest.approx(expected)
    assert None not in scores.metrics.values()
    assert scores.metrics.items() <= scores.values.items()
    counts = [scored.num_objects for scored in scores.classes]
    assert counts == [int((truth.labels[~truth.is_crowd] == label).sum()) for label in (1, 2)]


def test_no_images_at_all_measures_nothing():
    assert evaluate_coco([], [], make_classes(2)).metrics == {}


@pytest.mark.parametrize("score", [np.nan, np.inf])
def test_a_score_that_is_not_finite_is_refused(score):
    with pytest.raises(DataError, match="not a finite number"):
        evaluate_coco(
            [make_annotations([BIG], [1])], [make_detections([BIG], [score], [1])], make_classes(1)
        )


def test_a_metric_that_pycocotools_computes_otherwise_is_named():
    truths, found, classes = random_set(0)
    values = evaluate_coco(truths, found, classes).values
    with pytest.raises(DataError, match="pycocotools computes ar_10 "):
        check_metrics(values | {"ar_10": 0.5}, join_images(truths, found), classes)
