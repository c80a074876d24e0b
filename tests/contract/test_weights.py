"""Names and layout of the arrays on disk, as docs/file-formats.md lists them."""

import re
from pathlib import Path

import numpy as np
import pytest

from ssd_core.backends import open_backend
from ssd_core.recipes import load_recipe
from tests.requirements import INSTALLED_FRAMEWORKS

PAGE = (Path(__file__).parents[2] / "docs" / "file-formats.md").read_text()
OPTIMIZER = {"sgd": {"momentum"}, "adamw": {"step", "first_moment", "second_moment"}}
NUM_CLASSES = 20

pytestmark = pytest.mark.parametrize("framework", INSTALLED_FRAMEWORKS)


def documented_shapes(backbone):
    """Return the shape of every array in the page's table of this backbone."""
    section = PAGE.partition(f"### Backbone `{backbone}`")[2].partition("\n#")[0]
    shapes = {}
    for name, kind, text in re.findall(r"^\| `(.+)` \| (.+) \| (.+) \|$", section, re.MULTILINE):
        shape = tuple(int(number) for number in text.split(", "))
        shapes |= {
            "scale": {f"{name}.scale": shape},
            "convolution, no bias": {f"{name}.weight": shape},
            "convolution": {f"{name}.weight": shape, f"{name}.bias": shape[:1]},
            "convolution, norm": {f"{name}.conv.weight": shape}
            | {
                f"{name}.norm.{part}": shape[:1] for part in ("scale", "offset", "mean", "variance")
            },
        }[kind]
    return shapes


@pytest.fixture(params=["ssd300_vgg16", "ssd300_vgg16_mindspore", "demo", "ssd300_mobilenet_v2"])
def recipe(request):
    return load_recipe(request.param).train


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
