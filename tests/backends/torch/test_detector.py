import numpy as np
import pytest
import torch

from ssd_core.backends.torch.backend import TorchBackend
from ssd_core.config import PostprocessSpec
from ssd_core.detection.anchors import generate_anchors
from ssd_core.detection.boxes import BoxCoder
from ssd_core.detection.postprocess import select_detections
from ssd_core.recipes import load_recipe

RECIPE = load_recipe("demo").train
ANCHORS = generate_anchors(RECIPE.model.anchors, RECIPE.model.image_size)


def build_detector(postprocess):
    return TorchBackend("cpu", "fp32").learner(RECIPE, 3).detector(postprocess)


@pytest.mark.parametrize("threshold", [0.02, 0.3, 0.9])
def test_choosing_candidates_on_the_device_changes_nothing(threshold):
    postprocess = PostprocessSpec(score_threshold=threshold)
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(3, len(ANCHORS), 4)).astype(np.float32) * 2
    logits[..., 0] += 3
    offsets = rng.normal(size=(3, len(ANCHORS), 4)).astype(np.float32)
    sizes = [(640, 480), (100, 300), (256, 256)]
    outputs = torch.from_numpy(logits), torch.from_numpy(offsets)
    for image, found in enumerate(build_detector(postprocess).postprocess(outputs, sizes)):
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


def test_images_without_candidates_have_no_detections():
    logits = torch.zeros(3, len(ANCHORS), 4)
    logits[..., 0] = 20
    logits[1, 7, 2] = 30
    outputs = logits, torch.zeros(3, len(ANCHORS), 4)
    found = build_detector(PostprocessSpec()).postprocess(outputs, [(50, 50)] * 3)
    assert [len(detections) for detections in found] == [0, 1, 0]
    assert found[1].labels.tolist() == [2]
