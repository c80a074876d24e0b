"""Names and layout of the arrays on disk, as docs/file-formats.md lists them."""

import numpy as np
import pytest

from ssd_core.backends import open_backend
from ssd_core.errors import UsageError
from ssd_core.recipes import RECIPES, load_recipe
from tests.contract.documented import documented_shapes
from tests.requirements import INSTALLED_FRAMEWORKS, PYTORCH_ALONE

OPTIMIZER = {"sgd": {"momentum"}, "adamw": {"step", "first_moment", "second_moment"}}
NUM_CLASSES = 20

pytestmark = pytest.mark.parametrize("framework", INSTALLED_FRAMEWORKS)


FIRST = {load_recipe(name).train.model.backbone: name for name in reversed(RECIPES)}
"""The recipe of each backbone."""


@pytest.fixture(params=[name for backbone, name in FIRST.items() if documented_shapes(backbone)])
def recipe(request):
    return load_recipe(request.param).train


@pytest.mark.parametrize("recipe", PYTORCH_ALONE)
def test_a_network_of_pytorch_alone_is_refused_in_one_line(framework, recipe):
    backend, model = open_backend(framework, "cpu", "fp32"), load_recipe(recipe).train.model
    if framework == "torch":
        assert backend.arrays(model, NUM_CLASSES)
        return
    with pytest.raises(UsageError, match="is not implemented in MindSpore; use --framework torch"):
        backend.arrays(model, NUM_CLASSES)


def test_weights_have_the_documented_names_and_shapes(framework, recipe):
    learner = open_backend(framework, "cpu", "fp32").learner(recipe, NUM_CLASSES)
    weights = learner.weights()
    assert {name: array.shape for name, array in weights.items()} == documented_shapes(
        recipe.model.backbone
    )
    assert {array.dtype for array in learner.state().values()} == {np.dtype(np.float32)}
    statistics = (".mean", ".variance")
    expected = {f"weights/{name}": array.shape for name, array in weights.items()} | {
        f"optimizer/{kind}/{name}": () if kind == "step" else array.shape
        for kind in OPTIMIZER[recipe.optimizer.name]
        for name, array in weights.items()
        if not name.endswith(statistics)
    }
    assert {name: array.shape for name, array in learner.state().items()} == expected
