"""From raw outputs to detections."""

import numpy as np

from ssd_core.config import PostprocessSpec
from ssd_core.detection.box_coder import BoxCoder
from ssd_core.detection.postprocess import select_detections, softmax

SPEC = PostprocessSpec(score_threshold=0.1, nms_iou_threshold=0.45)
ANCHORS = np.array(
    [[0.25, 0.25, 0.5, 0.5], [0.25, 0.25, 0.5, 0.48], [0.9, 0.9, 0.4, 0.4]], np.float32
)


def select(probabilities, spec=SPEC, size=(100, 200)):
    """Detections of the three anchors as they are, from the probabilities of two classes."""
    foreground = np.array(probabilities, np.float32)
    logits = np.log(np.concatenate([1 - foreground.sum(1, keepdims=True), foreground], axis=1))
    rows = slice(len(logits))
    return select_detections(
        logits,
        np.zeros((len(logits), 4), np.float32),
        ANCHORS[rows],
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


def test_nothing_found():
    for probabilities in ([[0.01, 0.02]], np.zeros((0, 2))):
        found = select(probabilities)
        assert (found.boxes.shape, found.scores.shape, found.labels.shape) == ((0, 4), (0,), (0,))
        assert found.labels.dtype == np.int64


def test_softmax_of_large_logits_is_finite():
    np.testing.assert_allclose(
        softmax(np.array([[1000, 1000], [-1000, 1000]], np.float32)), [[0.5, 0.5], [0, 1]]
    )
