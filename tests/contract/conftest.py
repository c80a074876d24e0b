"""A model for what reads models, in the environment of either framework."""

import numpy as np
import pytest

from ssd_core.backends import open_backend
from ssd_core.recipes import load_recipe
from ssd_core.recipes.overrides import override
from tests.requirements import INSTALLED_FRAMEWORKS
from tests.small_model import describe_model, write_small_model


@pytest.fixture(scope="session")
def sure_model(tmp_path_factory):
    """Return a random network that is sure to see a cell at each of its coarsest anchors."""
    recipe = override(load_recipe("demo"), ["train.model.image_size=128"])
    learner = open_backend(INSTALLED_FRAMEWORKS[0], "cpu", "fp32").learner(recipe.train, 1)
    weights = learner.weights()
    bias = weights["heads.cls.3.bias"]
    bias[:] = np.where(np.arange(len(bias)) % 2, 3, -3)  # background, cell, background, ...
    folder = tmp_path_factory.mktemp("sure") / "trained"
    write_small_model(folder, weights, describe_model().model_copy(update={"recipe": recipe}))
    return folder
