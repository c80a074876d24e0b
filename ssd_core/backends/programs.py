"""The programs whose weights are read, without importing a framework."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from ssd_core.config import ModelConfig
from ssd_core.errors import require_package
from ssd_core.layouts.base import WeightLayout, choose_layout
from ssd_core.layouts.ckpt import read_ckpt
from ssd_core.layouts.graph_def import read_graph
from ssd_core.layouts.mindspore import MINDSPORE
from ssd_core.layouts.mmdetection import MMDETECTION, use_new_names
from ssd_core.layouts.nvidia import NVIDIA
from ssd_core.layouts.tensorflow import TENSORFLOW
from ssd_core.layouts.torchvision import TORCHVISION
from ssd_core.structures import Array


class OtherProgram(NamedTuple):
    """A program that trains SSDs."""

    read: Callable[[bytes], dict[str, Array]]
    """Returns the arrays in the content of one of its files, by its names."""
    networks: Mapping[str, WeightLayout]
    """Names and arrangement of the arrays, by backbone and `… with a pyramid`."""

    def layout(self, model: ModelConfig) -> WeightLayout:
        """Return the layout of a network; one that the program does not have has our names."""
        return choose_layout(self.networks, model)


def _read_mmdetection(content: bytes) -> dict[str, Array]:
    return use_new_names(_read_torch(content))


def _read_torch(content: bytes) -> dict[str, Array]:
    require_package("torch")
    from ssd_core.backends.torch.state_file import read_state_file

    return read_state_file(content)


PROGRAMS = {
    "mindspore": OtherProgram(read_ckpt, MINDSPORE),
    "mmdetection": OtherProgram(_read_mmdetection, MMDETECTION),
    "nvidia": OtherProgram(_read_torch, NVIDIA),
    "tensorflow": OtherProgram(read_graph, TENSORFLOW),
    "torchvision": OtherProgram(_read_torch, TORCHVISION),
}
"""By name."""
