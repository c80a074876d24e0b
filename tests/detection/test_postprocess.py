"""From raw outputs to detections."""

import numpy as np
import pytest
import torch
from torchvision.ops import nms

from ssd_core.config import PostprocessOverrides, PostprocessSpec
from ssd_core.detection.boxes import BoxCoder
from ssd_core.detection.nms import suppress
from ssd_core.detection.postprocess import select_detections, sigmoid, softmax

SPEC = PostprocessSpec(score_threshold=0.1, nms_iou_threshold=0.45)
ANCHORS = np.array(
    [[0.25, 0.25, 0.5, 0.5], [0.25, 0.25, 0.5, 0.48], [0.9, 0.9, 0.4, 0.4]], np.float32
)


def select(probabilities, spec=SPEC, size=(100, 200)):
    """Detections of the three anchors as they are, from the probabilities of two classes."""
    foreground = np.array(probabilities, np.float32)
    logits = np.log(np.concatenate([1 - foreground.sum(1, keepdims=True), foreground], axis=1))
    return select_logits(logits, spec, size=size)


def select_logits(logits, spec, anchors=ANCHORS, size=(100, 200)):
    return select_detections(
        logits,
        np.zeros((len(logits), 4), np.float32),
        anchors[: len(logits)],
        coder=BoxCoder((0.1, 0.2)),
        spec=spec,
        size=size,
    )


def test_boxes_are_pixels_of_the_original_image_and_clipped_to_it():
    found = select([[0.8, 0.01], [0.01, 0.01], [0.01, 0.6]])
    np.testing.assert_allclose(found.boxes, [[0, 0, 50, 100], [70, 140, 100, 200]], rtol=1e-5)
    np.testing.assert_allclose(found.scores, [0.8, 0.6], rtol=1e-5)
    assert found.labels.tolist() == [1, 2]
    assert (found.boxes.dtype, found.scores.dtype, found.labels.dtype) == (
        np.float32,
        np.float32,
        np.int64,
    )


def test_overlap_suppresses_within_a_class_only():
    assert select([[0.8, 0.01], [0.7, 0.01]]).labels.tolist() == [1]
    assert select([[0.8, 0.01], [0.01, 0.7]]).labels.tolist() == [1, 2]
    assert select([[0.5, 0.4], [0.01, 0.01]]).labels.tolist() == [1, 2]  # one anchor, two classes


def test_scores_at_most_the_threshold_are_dropped():
    assert len(select([[0.05, 0.09], [0.02, 0.03], [0.01, 0.1001]])) == 1


def test_best_first_and_capped():
    spec = SPEC.model_copy(update={"max_detections_per_image": 2})
    found = select([[0.3, 0.01], [0.01, 0.9], [0.6, 0.01]], spec)
    np.testing.assert_allclose(found.scores, [0.9, 0.6], rtol=1e-5)


def test_candidates_of_a_class_are_limited_before_nms():
    spec = SPEC.model_copy(update={"topk_candidates": 2})
    found = select([[0.9, 0.01], [0.8, 0.01], [0.7, 0.01]], spec)
    np.testing.assert_allclose(found.scores, [0.9], rtol=1e-5)  # 2nd falls in NMS, 3rd never enters
    assert found.candidates == 2


def test_nothing_found():
    for probabilities in ([[0.01, 0.02]], np.zeros((0, 2))):
        found = select(probabilities)
        assert (found.boxes.shape, found.scores.shape, found.labels.shape) == ((0, 4), (0,), (0,))
        assert found.labels.dtype == np.int64


def test_scores_of_large_logits_are_finite():
    logits = np.array([[1000, 1000], [-1000, 1000]], np.float32)
    np.testing.assert_allclose(softmax(logits), [[0.5, 0.5], [0, 1]])
    np.testing.assert_allclose(sigmoid(logits), [[1, 1], [0, 1]])


def test_sigmoid_scores_do_not_depend_on_other_classes():
    logits = np.array([[9, 0, 2], [9, 0, -9]], np.float32)
    spec = PostprocessSpec(scores="sigmoid", score_threshold=0.4, nms_iou_threshold=0.99)
    found = select_logits(logits, spec)
    np.testing.assert_allclose(found.scores, [1 / (1 + np.exp(-2)), 0.5, 0.5], rtol=1e-6)
    assert found.labels.tolist() == [2, 1, 1]


def test_a_limit_per_class_leaves_the_best_of_each():
    spec = SPEC.model_copy(
        update={"max_detections_per_class": 1, "nms_iou_threshold": 0.99, "topk_candidates": 0}
    )
    found = select([[0.5, 0.4], [0.6, 0.3], [0.7, 0.2]], spec)
    np.testing.assert_allclose(found.scores, [0.7, 0.4], rtol=1e-5)
    unlimited = spec.model_copy(
        update={"max_detections_per_class": 0, "max_detections_per_image": 0}
    )
    assert len(select([[0.5, 0.4], [0.6, 0.3], [0.7, 0.2]], unlimited)) == 6


def test_overrides_change_what_they_name():
    overrides = PostprocessOverrides(score_threshold=0.3, max_detections_per_class=7)
    changes = {"score_threshold": 0.3, "max_detections_per_class": 7}
    assert overrides.apply(SPEC) == SPEC.model_copy(update=changes)
    assert PostprocessOverrides().apply(SPEC) == SPEC
    own = PostprocessSpec.model_fields.keys() - {"scores"}  # the network decides on its scores
    assert PostprocessOverrides.model_fields.keys() == own


def survivors(boxes, iou_threshold, classes=None):
    groups = np.zeros(len(boxes), np.int64) if classes is None else classes
    return np.flatnonzero(suppress(boxes, groups, iou_threshold)).tolist()


def test_a_box_falls_to_a_better_one_but_not_to_a_fallen_one():
    boxes = np.array([[0, 0, 10, 1], [4, 0, 14, 1], [8, 0, 18, 1], [50, 0, 60, 1]], np.float32)
    # IoU of neighbours 6/14, of the first and the third 2/18: the second falls, the third stays.
    assert survivors(boxes, 0.4) == [0, 2, 3]


def test_an_overlap_equal_to_the_threshold_stays():
    boxes = np.array([[0, 0, 1, 1], [0, 0, 1, 0.5]], np.float32)
    assert survivors(boxes, 0.5) == [0, 1]
    assert survivors(boxes, 0.49) == [0]


def test_empty_boxes_and_boxes_that_are_not_numbers_survive():
    boxes = np.array([[0, 0, 9, 9], [1, 1, 1, 1], [1, 1, 1, 1], [np.nan] * 4], np.float32)
    assert survivors(boxes[[0, 1, 2, 3, 0]], 0.5) == [0, 1, 2, 3]
    assert survivors(boxes[:0], 0.5) == []


@pytest.mark.parametrize("num_boxes", [200, 3000])
@pytest.mark.parametrize("iou_threshold", [0.1, 0.45, 0.9])
def test_equals_torchvision(num_boxes, iou_threshold):
    rng = np.random.default_rng(num_boxes)
    corner, sides = rng.random((2, num_boxes, 2), np.float32)
    boxes = np.concatenate([corner, corner + sides * 0.3], axis=1)
    classes = np.sort(rng.integers(0, 3, num_boxes))
    expected = [
        rows[nms(torch.from_numpy(boxes[rows]), torch.linspace(1, 0, len(rows)), iou_threshold)]
        for rows in (np.flatnonzero(classes == each) for each in range(3))
    ]
    assert survivors(boxes, iou_threshold, classes) == np.concatenate(expected).tolist()
