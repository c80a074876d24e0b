"""A network that starts from another one detects the classes of both as that one does."""

import numpy as np
import pytest

from ssd_core.backends import open_backend
from ssd_core.config import InitConfig
from ssd_core.model_dir import write_model
from ssd_core.recipes import load_recipe
from ssd_core.recipes.overrides import override
from ssd_core.store import LocalDirectory
from ssd_core.structures import ClassInfo
from ssd_core.training.initial import InitialWeights
from tests.requirements import INSTALLED_FRAMEWORKS
from tests.small_model import describe_model

NAMES = ("a", "b", "c")
SIZES = [(100, 80), (64, 64)]


def make_classes(names):
    return [ClassInfo(label=k, name=name, category_id=k) for k, name in enumerate(names, 1)]


def detect(learner, config, images, label):
    """Return boxes and scores of one class in each image."""
    found = learner.detector(config.model.postprocess).detect(images, SIZES)
    return [(each.boxes[each.labels == label], each.scores[each.labels == label]) for each in found]


@pytest.mark.parametrize("head", ["convolution", "separable"])
@pytest.mark.parametrize("framework", INSTALLED_FRAMEWORKS)
def test_classes_that_stay_are_detected_as_before(framework, head, tmp_path):
    changes = ["model.image_size=64", f"model.head={head}", "model.background_bias=0"]
    changes += ['classification_loss={"name": "focal"}', "model.postprocess.scores=sigmoid"]
    changes += ["model.postprocess.score_threshold=0.5", "model.postprocess.topk_candidates=20"]
    changes += ["model.postprocess.max_detections_per_image=0", "ema_decay=0.9"]
    config = override(load_recipe("demo"), [f"train.{each}" for each in changes]).train
    backend = open_backend(framework, "cpu", "fp32")
    given = backend.learner(config.model_copy(update={"seed": 5}), len(NAMES))
    description = describe_model(num_classes=len(NAMES))
    model_dir = LocalDirectory(tmp_path)
    write_model(model_dir, description, make_classes(NAMES), given.weights())

    learner = backend.learner(config, 2)
    initial = InitialWeights(InitConfig(source=model_dir.uri))
    initial.load(learner, config.model, make_classes(("c", "new")))
    weights = learner.weights()
    for name, array in learner.state().items():
        if name.startswith("trained/"):
            np.testing.assert_array_equal(array, weights[name.removeprefix("trained/")])
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
    found, expected = detect(learner, config, images, 1), detect(given, config, images, 3)
    for (boxes, scores), (true_boxes, true_scores) in zip(found, expected, strict=True):
        assert len(true_scores) > 0
        np.testing.assert_allclose(scores, true_scores, atol=1e-6)
        np.testing.assert_allclose(boxes, true_boxes, atol=1e-4)
