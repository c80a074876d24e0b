"""The curves of a training: the points that every tracker takes from its log."""

from collections.abc import Mapping
from typing import Any

_GROUPS = {"step": "train", "evaluation": "val"}
_NO_CURVES = {"event", "step", "time"}


def find_points(line: Mapping[str, Any]) -> dict[str, float]:
    """Return the points of a line by the name of the curve, for example `train/loss`.

    A line of an earlier version may lack its time; it has no points.
    """
    if (group := _GROUPS.get(line["event"])) is None or "time" not in line:
        return {}
    numbers = {name: value for name, value in line.items() if isinstance(value, int | float)}
    return {f"{group}/{name}": float(numbers[name]) for name in numbers.keys() - _NO_CURVES}


def take_new_points(line: Mapping[str, Any], last_steps: dict[str, int]) -> dict[str, float]:
    """Return the points of a line after the last step of their curves, and note this step there."""
    points = find_points(line)
    new = {name: each for name, each in points.items() if line["step"] > last_steps.get(name, -1)}
    last_steps.update(dict.fromkeys(new, line["step"]))
    return new
