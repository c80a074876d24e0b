"""Every backend turns the same raw outputs into the detections of the NumPy oracle, bit by bit.

A new backend adds a branch to `make_tensor`.
"""

import numpy as np
import pytest

from ssd_core.backends import open_backend
from ssd_core.config import PostprocessSpec
from ssd_core.detection.anchors import generate_anchors
from ssd_core.detection.boxes import BoxCoder
from ssd_core.detection.postprocess import select_detections
from ssd_core.recipes import load_recipe
from ssd_core.recipes.ssd300_mobilenet_v2 import MINDSPORE_POSTPROCESS
from tests.requirements import INSTALLED_FRAMEWORKS

RECIPE = load_recipe("demo").train
ANCHORS = generate_anchors(RECIPE.model.anchors, RECIPE.model.image_size)
METHODS = {
    "softmax, most pass": PostprocessSpec(score_threshold=0.02),
    "softmax, some pass": PostprocessSpec(score_threshold=0.3),
    "softmax, few pass": PostprocessSpec(score_threshold=0.9),
    "sigmoid, most pass": PostprocessSpec(scores="sigmoid", score_threshold=0.1),
    "sigmoid, few pass": PostprocessSpec(scores="sigmoid", score_threshold=0.99),
    "mindspore": MINDSPORE_POSTPROCESS.model_copy(update={"score_threshold": 0.8}),
}

pytestmark = pytest.mark.parametrize("framework", INSTALLED_FRAMEWORKS)


def make_tensor(framework, array):
    if framework == "torch":
        import torch

        return torch.from_numpy(array)
    import mindspore

    return mindspore.Tensor(array)


def detect(framework, logits, offsets, postprocess, sizes):
    detector = open_backend(framework, "cpu", "fp32").learner(RECIPE, 3).detector(postprocess)
    return detector.postprocess([make_tensor(framework, part) for part in (logits, offsets)], sizes)


@pytest.mark.parametrize("postprocess", METHODS.values(), ids=METHODS)
def test_detections_equal_the_oracle(framework, postprocess):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(3, len(ANCHORS), 4)).astype(np.float32) * 2
    logits[..., 0] += 3
    offsets = rng.normal(size=(3, len(ANCHORS), 4)).astype(np.float32)
    sizes = [(640, 480), (100, 300), (256, 256)]
    for image, found in enumerate(detect(framework, logits, offsets, postprocess, sizes)):
        expected = select_detections(
            logits[image],
            offsets[image],
            ANCHORS,
            coder=BoxCoder(RECIPE.model.variances),
            spec=postprocess,
            size=sizes[image],
        )
        assert len(expected) > 0
        np.testing.assert_array_equal(found.boxes, expected.boxes)
        np.testing.assert_array_equal(found.scores, expected.scores)
        np.testing.assert_array_equal(found.labels, expected.labels)


def test_images_without_candidates_have_no_detections(framework):
    logits = np.zeros((3, len(ANCHORS), 4), np.float32)
    logits[..., 0] = 20
    logits[1, 7, 2] = 30
    offsets = np.zeros((3, len(ANCHORS), 4), np.float32)
    found = detect(framework, logits, offsets, PostprocessSpec(), [(50, 50)] * 3)
    assert [len(detections) for detections in found] == [0, 1, 0]
    assert found[1].labels.tolist() == [2]
