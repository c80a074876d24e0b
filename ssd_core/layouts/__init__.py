"""Weights of other programs: their files, and their names and arrangement of arrays."""

from ssd_core.layouts.base import OURS, WeightLayout
from ssd_core.layouts.mindspore import MINDSPORE
from ssd_core.layouts.tensorflow import TENSORFLOW
from ssd_core.layouts.torchvision import TORCHVISION

LAYOUTS = {"mindspore": MINDSPORE, "tensorflow": TENSORFLOW, "torchvision": TORCHVISION}
"""By program and backbone."""


def find_layout(program: str, backbone: str) -> WeightLayout:
    """Return the layout of a network; a program that does not have it uses our names."""
    return LAYOUTS[program].get(backbone, OURS)
