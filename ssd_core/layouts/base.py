"""What differs between our arrays and those of another program; docs/weights.md lists the names."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ssd_core.structures import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightLayout:
    """How another program names and arranges the arrays of a network."""

    layers: Mapping[str, str]
    """Its name of each of our layers; none if it has our names."""
    roles: Mapping[str, str]
    """Its name of the last part of our names, where it is another one."""
    prefix: str
    """Begins its names in a checkpoint of a training, and may be missing in others."""
    arrange: Callable[[str, Array], Array]
    """Turns an array, given with our name, from its arrangement into ours, or back."""

    def name(self, ours: str) -> str:
        """Return its name of one of our arrays, without the prefix."""
        if not self.layers:
            return ours
        layer, _, role = ours.rpartition(".")
        return f"{self.layers[layer]}.{self.roles.get(role, role)}"


OURS = WeightLayout(layers={}, roles={}, prefix="", arrange=lambda _, array: array)
"""Names and arrangement of docs/file-formats.md."""
