"""The names of other programs, as docs/weights.md lists them."""

import re
from pathlib import Path

import pytest

from ssd_core.backends import open_backend
from ssd_core.backends.programs import PROGRAMS
from ssd_core.recipes import load_recipe

PAGE = (Path(__file__).parents[2] / "docs" / "weights.md").read_text()


def test_the_documented_names_are_those_of_the_table():
    documented = re.findall(
        r"^\| `((?:backbone|extras|heads|pyramid)\..+)` \| `(.+)` \|$", PAGE, re.M
    )
    layouts = [layout for program in PROGRAMS.values() for layout in program.networks.values()]
    known = {pair for layout in layouts for pair in layout.layers.items()}
    assert len(documented) > 30
    assert set(documented) <= known


@pytest.mark.parametrize(
    ("program", "recipe"),
    [
        ("mindspore", "ssd300_mobilenet_v1"),
        ("mindspore", "ssd300_mobilenet_v2"),
        ("mindspore", "ssd300_vgg16_mindspore"),
        ("mindspore", "ssd640_mobilenet_v1_fpn"),
        ("mindspore", "ssd640_resnet50_fpn"),
        ("mmdetection", "ssd300_vgg16"),
        ("mmdetection", "ssd512_vgg16"),
        ("mmdetection", "ssdlite320_mobilenet_v2"),
        ("nvidia", "ssd300_resnet50"),
        ("torchvision", "ssd300_vgg16"),
        ("torchvision", "ssdlite320_mobilenet_v3"),
    ],
)
def test_every_array_of_a_network_has_a_name_of_its_own(program, recipe):
    pytest.importorskip("torch", reason="MindSpore does not have every network")
    model = load_recipe(recipe).train.model
    arrays = open_backend("torch", "cpu").arrays(model, 80)
    layout = PROGRAMS[program].layout(model)
    names = {layout.name(ours) for ours in arrays}
    assert len(names) == len(arrays)
    layers = {ours if ours in layout.layers else ours.rpartition(".")[0] for ours in arrays}
    assert layers == layout.layers.keys()
