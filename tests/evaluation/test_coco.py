"""The twelve numbers against pycocotools, on random and on adversarial sets."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssd_core.errors import DataError
from ssd_core.evaluation.coco import evaluate_coco, format_summary
from ssd_core.structures import ClassInfo, Detections, make_annotations
from tests.evaluation.oracle import make_ground_truth, run_pycocotools


def make_classes(count):
    """Category ids with gaps, as COCO has them."""
    return [
        ClassInfo(label=k, name=f"class {k}", category_id=3 * k - 2) for k in range(1, count + 1)
    ]


def make_detections(boxes, scores, labels):
    return Detections(
        boxes=np.asarray(boxes, np.float32).reshape(-1, 4),
        scores=np.asarray(scores, np.float32),
        labels=np.asarray(labels, np.int64),
    )


def nothing_found():
    return make_detections([], [], [])


def assert_equal_to_pycocotools(truths, found, classes):
    scores = evaluate_coco(truths, found, classes)
    image_ids = [10 * number + 7 for number in range(len(truths))]
    categories = {info.label: info.category_id for info in classes}
    rows = [
        {"image_id": image_id, "category_id": categories[label], "score": score}
        | {"bbox": [x0, y0, x1 - x0, y1 - y0]}
        for image_id, image in zip(image_ids, found, strict=True)
        for (x0, y0, x1, y1), label, score in zip(
            image.boxes.tolist(), image.labels.tolist(), image.scores.tolist(), strict=True
        )
    ]
    oracle, lines = run_pycocotools(make_ground_truth(image_ids, truths, classes), rows)
    np.testing.assert_allclose(list(scores.values.values()), oracle.stats, rtol=0, atol=1e-9)
    assert format_summary(scores.values) == lines
    table = oracle.eval["precision"][:, :, :, 0, 2]
    for column, scored in enumerate(scores.classes):
        cells = table[:, :, column]
        expected = cells[cells > -1].mean() if (cells > -1).any() else -1
        assert scored.ap == pytest.approx(expected, abs=1e-9)
        np.testing.assert_allclose(scored.precision, cells[0], rtol=0, atol=1e-9)
    return scores


def random_set(seed, num_images=12, num_classes=4, crowd=0.1):
    """Objects of all sizes; detections near them, duplicated, mislabelled, and free inventions."""
    rng = np.random.default_rng(seed)
    truths, found = [], []
    for _ in range(num_images):
        count = int(rng.integers(0, 9))
        corners = rng.uniform(0, 300, (count, 2))
        boxes = np.concatenate([corners, corners + rng.lognormal(3.5, 1.0, (count, 2))], axis=1)
        labels = rng.integers(1, num_classes, count)  # the last class has no objects
        truths.append(
            make_annotations(
                boxes,
                labels,
                areas=(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) * rng.uniform(0.4, 1, count),
                is_crowd=rng.random(count) < crowd,
            )
        )
        near = np.repeat(boxes, 2, axis=0) + rng.normal(0, 6, (2 * count, 4))
        free = rng.uniform(0, 200, (5, 4)) + np.array([0, 0, 200, 200])
        guesses = np.concatenate([near, free])
        guesses[:, 2:] = np.maximum(guesses[:, 2:], guesses[:, :2] + 1)
        guessed = np.concatenate([np.repeat(labels, 2), rng.integers(1, num_classes + 1, 5)])
        scores = np.round(rng.random(len(guesses)), 1)  # coarse, so that many are equal
        found.append(make_detections(guesses, scores, guessed))
    return truths, found, make_classes(num_classes)


@pytest.mark.parametrize("seed", range(6))
def test_random_sets_equal_pycocotools(seed):
    scores = assert_equal_to_pycocotools(*random_set(seed))
    assert scores.values["ap"] > 0.05


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    num_images=st.integers(1, 5),
    crowd=st.sampled_from([0.0, 0.5, 1.0]),
)
def test_any_set_equals_pycocotools(seed, num_images, crowd):
    assert_equal_to_pycocotools(*random_set(seed, num_images, 2, crowd))


def test_perfect_detections_score_one():
    truth = make_annotations([[10, 10, 60, 60], [100, 100, 300, 300]], [1, 2])
    scores = assert_equal_to_pycocotools(
        [truth], [make_detections(truth.boxes, [0.9, 0.8], truth.labels)], make_classes(2)
    )
    assert scores.values["ap"] == pytest.approx(1)
    assert scores.values["ap_small"] == -1
    assert "ap_small" not in scores.metrics
    assert [scored.num_objects for scored in scores.classes] == [1, 1]


def test_one_miss_and_one_false_alarm():
    truth = make_annotations([[0, 0, 100, 100], [200, 200, 300, 300]], [1, 1])
    found = make_detections([[400, 400, 500, 500], [0, 0, 100, 100]], [0.9, 0.8], [1, 1])
    scores = assert_equal_to_pycocotools([truth], [found], make_classes(1))
    # Precision is 1/2 up to recall 1/2, which is 51 of the 101 recalls.
    assert scores.values["ap50"] == pytest.approx(51 / 101 / 2)


def test_nothing_found_scores_zero():
    truths = [make_annotations([[10, 10, 200, 200]], [1]), make_annotations([], [])]
    scores = assert_equal_to_pycocotools(truths, [nothing_found()] * 2, make_classes(1))
    assert scores.values["ap"] == 0
    assert scores.values["ar_100"] == 0


@pytest.mark.parametrize("found", [nothing_found(), make_detections([[1, 1, 9, 9]], [0.5], [1])])
def test_no_objects_at_all_measures_nothing(found):
    scores = assert_equal_to_pycocotools([make_annotations([], [])], [found], make_classes(2))
    assert set(scores.values.values()) == {-1.0}
    assert scores.metrics == {}


def test_no_images_at_all_measures_nothing():
    assert evaluate_coco([], [], make_classes(2)).metrics == {}


def test_more_than_a_hundred_detections_are_cut():
    truth = make_annotations([[0, 0, 50, 50]], [1])
    boxes = [[100, 100, 150, 150]] * 100 + [[0, 0, 50, 50]]
    found = make_detections(boxes, np.linspace(0.9, 0.1, 101), [1] * 101)
    scores = assert_equal_to_pycocotools([truth], [found], make_classes(1))
    assert scores.values["ar_100"] == 0


def test_crowd_swallows_detections_without_penalty():
    truth = make_annotations(
        [[0, 0, 200, 200], [300, 300, 340, 340]], [1, 1], is_crowd=[True, False]
    )
    found = make_detections(
        [[10, 10, 60, 60], [80, 80, 120, 120], [300, 300, 340, 340]], [0.9, 0.8, 0.7], [1] * 3
    )
    scores = assert_equal_to_pycocotools([truth], [found], make_classes(1))
    assert scores.values["ap"] == pytest.approx(1)
    assert scores.classes[0].num_objects == 1


def test_areas_of_masks_decide_the_size():
    truth = make_annotations([[0, 0, 100, 100]], [1], areas=[500.0])
    scores = assert_equal_to_pycocotools(
        [truth], [make_detections(truth.boxes, [0.9], [1])], make_classes(1)
    )
    assert scores.values["ap_small"] == pytest.approx(1)
    assert scores.values["ap_medium"] == -1


@pytest.mark.parametrize("score", [np.nan, np.inf])
def test_a_score_that_is_not_finite_is_refused(score):
    truth = make_annotations([[0, 0, 100, 100]], [1])
    with pytest.raises(DataError, match="not a finite number"):
        evaluate_coco([truth], [make_detections(truth.boxes, [score], [1])], make_classes(1))
