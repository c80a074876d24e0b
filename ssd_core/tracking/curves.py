"""The curves of a training: what every tracker gets of its log."""

from collections.abc import Mapping
from typing import Any

_GROUPS = {"step": "train", "evaluation": "val"}
_NO_CURVES = {"event", "step", "time"}


def find_points(line: Mapping[str, Any]) -> dict[str, float]:
    """Return the points of a line by the name of the curve, for example `train/loss`."""
    if (group := _GROUPS.get(line["event"])) is None:
        return {}
    numbers = {name: value for name, value in line.items() if isinstance(value, int | float)}
    return {f"{group}/{name}": float(numbers[name]) for name in numbers.keys() - _NO_CURVES}
