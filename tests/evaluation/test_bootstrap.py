"""Intervals against evaluations of the repeated images."""

import numpy as np
import pytest

from ssd_core.evaluation.bootstrap import (
    average,
    draw_images,
    interval,
    measure_intervals,
    weighted_ap,
)
from ssd_core.evaluation.coco import evaluate_coco, join_images
from ssd_core.evaluation.iou_matches import match_at_ious
from ssd_core.structures import make_annotations
from tests.detections import NOTHING_FOUND, make_detections
from tests.evaluation.random_sets import make_classes, random_set

BOX = [0, 0, 100, 100]


def match_set(truths, found, classes):
    return match_at_ious(join_images(truths, found), classes)


@pytest.mark.parametrize("seed", range(4))
def test_weights_equal_an_evaluation_of_the_repeated_images(seed):
    truths, found, classes = random_set(seed, decimals=9)  # so that all scores are different
    matches = match_set(truths, found, classes)
    weights = draw_images(matches)[:12]
    values = weighted_ap(matches, weights)
    for counts, ap in zip(weights, values, strict=True):
        numbers = np.repeat(np.arange(len(counts)), counts)
        scores = evaluate_coco(
            [truths[number] for number in numbers], [found[number] for number in numbers], classes
        )
        expected = [
            (np.nan,) * 2 if row.values["ap"] is None else (row.values["ap"], row.values["ap50"])
            for row in scores.classes
        ]
        np.testing.assert_allclose(
            np.stack([ap.mean(axis=1), ap[:, 0]], axis=1), expected, atol=1e-9
        )
        assert average(ap[None]) == pytest.approx(scores.values["ap"], abs=1e-9)
    assert not weights[0, weights[0] != 1].size
    assert (weights.sum(axis=1) == len(truths)).all()


def test_a_class_may_be_absent_from_a_resample():
    truths = [make_annotations([BOX], [label]) for label in (1,) * 11 + (2,)]
    found = [make_detections([BOX], [0.9], [1])] * 12
    values = weighted_ap(
        match_set(truths, found, make_classes(2)), np.array([[1] * 12, [1] * 11 + [0]])
    )
    assert average(values) == pytest.approx([0.5, 1])


def test_equal_scores_keep_the_order_of_coco():
    truths, found, classes = random_set(1)
    matches = match_set(truths, found, classes)
    scores = evaluate_coco(truths, found, classes)
    values = weighted_ap(matches, np.ones((1, len(truths)), np.int64))
    assert average(values) == pytest.approx(scores.values["ap"], abs=1e-12)


def test_an_interval_is_the_same_every_time_and_narrower_with_more_images():
    widths = []
    for num_images in (20, 200):
        matches = match_set(*random_set(0, num_images))
        intervals = measure_intervals(matches)
        assert measure_intervals(matches) == intervals
        ap = average(weighted_ap(matches, draw_images(matches)))[0]
        low, high = intervals["ap"]
        assert 0 < low < ap < high < 1
        widths.append(high - low)
    assert widths[1] < widths[0] / 2


@pytest.mark.parametrize(
    ("num_images", "objects", "found", "expected"),
    [
        pytest.param(1, [BOX], make_detections([BOX], [0.9], [1]), None, id="one image"),
        pytest.param(12, [], make_detections([BOX], [0.9], [1]), None, id="no objects"),
        pytest.param(12, [BOX], NOTHING_FOUND, (0, 0), id="no detections"),
        pytest.param(12, [BOX], make_detections([BOX], [0.9], [1]), (1, 1), id="all found"),
        pytest.param(0, [], NOTHING_FOUND, None, id="no images"),
    ],
)
def test_intervals_at_the_edges(num_images, objects, found, expected):
    truths = [make_annotations(objects, [1] * len(objects))] * num_images
    matches = match_set(truths, [found] * num_images, make_classes(1))
    assert measure_intervals(matches) == dict.fromkeys(("ap", "ap50", "ap75"), expected)


def test_an_interval_corrects_the_bias_of_its_resamples():
    resampled = np.arange(1001) / 1000
    assert interval(np.array([0.4, *resampled, np.nan])) == pytest.approx((-0.175, 0.775))
