"""Differences between our arrays and those of another program; docs/weights.md lists the names."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ssd_core.config import ModelConfig
from ssd_core.structures import Array


def _keep(_: str, array: Array) -> Array:
    return array


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightLayout:
    """How another program names and arranges the arrays of a network."""

    layers: Mapping[str, str]
    """Its name of each of our layers, or of an array alone; the others have our names."""
    roles: Mapping[str, str] = field(default_factory=dict)
    """Its name of the last part of our names, where it is another one."""
    prefix: str = ""
    """Begins its names in a checkpoint of a training, and may be missing in others."""
    arrange: Callable[[str, Array], Array] = _keep
    """Turns an array, given with our name, from its arrangement into ours; MindSpore's and
    TensorFlow's also back."""
    model: Mapping[str, Any] = field(default_factory=dict)
    """Fields of `ModelConfig` whose values the weights need, whatever the recipe has."""

    def name(self, ours: str) -> str:
        """Return its name of one of our arrays, without the prefix."""
        if ours in self.layers:
            return self.layers[ours]
        layer, _, role = ours.rpartition(".")
        if layer not in self.layers:
            return ours
        return f"{self.layers[layer]}.{self.roles.get(role, role)}"


def norm_pair(ours: str, theirs: str) -> dict[str, str]:
    """Return the names of a convolution and its norm, which their cell numbers."""
    return {f"{ours}.conv": f"{theirs}.0", f"{ours}.norm": f"{theirs}.1"}


TORCH_ROLES = {
    "scale": "weight",
    "offset": "bias",
    "mean": "running_mean",
    "variance": "running_var",
}
"""Of batch normalisation in PyTorch."""


OURS = WeightLayout(layers={})
"""Names and arrangement of docs/file-formats.md."""


def choose_layout(networks: Mapping[str, WeightLayout], model: ModelConfig) -> WeightLayout:
    """Return the layout of a network; one that a program does not have has our names."""
    network = f"{model.backbone} with a pyramid" if model.pyramid else model.backbone
    return networks.get(network, OURS)
