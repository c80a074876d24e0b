"""Recipes that differ from another one in a few fields."""

from collections.abc import Mapping
from typing import Any

from ssd_core.config import Recipe, parse_section


def derive(base: Recipe, *, name: str, description: str, **changes: Any) -> Recipe:
    """Return a recipe with changed fields of its section `train`.

    A mapping changes fields of a part, such as `model`; any other value replaces its field.
    """
    values = base.model_dump() | {"name": name, "description": description}
    train = values["train"]
    for key, change in changes.items():
        train[key] = {**train[key], **change} if isinstance(change, Mapping) else change
    return parse_section(Recipe, values, "")
