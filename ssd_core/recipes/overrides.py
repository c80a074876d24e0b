"""Assignments `section.key=value` that change a recipe or one of its sections."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from ssd_core.config import Recipe, parse_section
from ssd_core.errors import UsageError, unknown_name


def override(recipe: Recipe, assignments: Iterable[str]) -> Recipe:
    """Return `recipe` with assignments applied; a later one for the same key wins.

    A value that is valid JSON (`12`, `true`, `[0.5, 0.9]`, `null`) is parsed; any other is text.
    """
    values = recipe.model_dump(mode="json")
    _apply(values, assignments)
    return parse_section(Recipe, values, "")


def assign(section: str, values: Mapping[str, Any], assignments: Iterable[str]) -> dict[str, Any]:
    """Return the plain values of one section with assignments applied.

    `parse_section` validates keys and values later.
    """
    whole: dict[str, Any] = {section: dict(values)}
    _apply(whole, assignments)
    changed: dict[str, Any] = whole[section]
    return changed


def _apply(values: dict[str, Any], assignments: Iterable[str]) -> None:
    for assignment in assignments:
        path, separator, text = assignment.partition("=")
        keys = path.strip().split(".")
        if not separator or len(keys) < 2:
            raise UsageError(f"'{assignment}' is not of the form section.key=value")
        _assign(values, keys, _parse_value(text.strip()))


def _parse_value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # also of a number that is too long for Python
        return text


def _assign(values: dict[str, Any], keys: list[str], value: Any) -> None:
    """Set a nested key; the last key may be new, because the model validates it later."""
    node = values
    for depth, key in enumerate(keys[:-1]):
        if not isinstance(node.get(key), dict):
            known = [name for name, child in node.items() if isinstance(child, dict)]
            raise unknown_name(
                "section",
                ".".join(keys[: depth + 1]),
                [".".join([*keys[:depth], name]) for name in known],
            )
        node = node[key]
    node[keys[-1]] = value
